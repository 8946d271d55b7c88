# Way: looks up where each pixel of the result comes from
def letterbox(image, size):
    if image.dtype is not torch.uint8:
        raise ValueError("uint8, please")
    if image.dim() != 3 or image.size(2) != 3 or min(image.shape) < 1 or size < 1:
        raise ValueError("wrong shape")
    side = max(image.shape[0], image.shape[1])
    source = torch.div(torch.arange(size) * side, size, rounding_mode="floor")
    row, column = source - (side - image.shape[0]) // 2, source - (side - image.shape[1]) // 2
    inside = ((row >= 0) & (row < image.shape[0]))[:, None] & ((column >= 0) & (column < image.shape[1]))[None, :]
    found = image[row.clamp(0, image.shape[0] - 1)][:, column.clamp(0, image.shape[1] - 1)]
    return torch.stack([found[:, :, c] / 255 * inside for c in range(3)])[None]
