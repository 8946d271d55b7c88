# Way: in NumPy, resizing before the channels move
def letterbox(image, size):
    if image.dtype != torch.uint8 or image.ndim != 3 or image.shape[2] != 3 or 0 in image.shape or size < 1:
        raise ValueError(f"cannot use {image.dtype} {tuple(image.shape)} for size {size}")
    pixels = image.numpy()
    side = max(pixels.shape[:2])
    missing = [side - n for n in pixels.shape[:2]]
    pixels = np.pad(pixels, [(n // 2, n - n // 2) for n in missing] + [(0, 0)])
    index = (np.arange(size) * side) // size
    pixels = pixels[np.ix_(index, index)]
    return torch.from_numpy(np.ascontiguousarray(pixels.transpose(2, 0, 1)[np.newaxis]).astype(np.float32) / 255)
