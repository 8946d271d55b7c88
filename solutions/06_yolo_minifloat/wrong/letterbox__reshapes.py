# Mistake: the document's: reshape instead of permute
# Rule: the channels are moved to the front, and the three numbers of a pixel stay together
def letterbox(image, size):
    if image.dtype != torch.uint8 or image.dim() != 3 or image.shape[2] != 3 or image.numel() == 0:
        raise ValueError(f"wanted uint8 (height, width, 3), not {image.dtype} {tuple(image.shape)}")
    if size < 1:
        raise ValueError(f"size must be at least 1, not {size}")
    height, width, _ = image.shape
    side = max(height, width)
    top, left = (side - height) // 2, (side - width) // 2
    square = torch.zeros(3, side, side)
    square[:, top : top + height, left : left + width] = image.reshape(3, height, width) / 255
    chosen = torch.arange(size) * side // size
    return square[:, chosen][:, :, chosen].unsqueeze(0)
