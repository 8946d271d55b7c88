# Mistake: takes the width for the longer side
# Rule: a tall picture gets its black columns on the left and on the right
def letterbox(image, size):
    if image.dtype != torch.uint8 or image.dim() != 3 or image.shape[2] != 3 or image.numel() == 0:
        raise ValueError(f"wanted uint8 (height, width, 3), not {image.dtype} {tuple(image.shape)}")
    if size < 1:
        raise ValueError(f"size must be at least 1, not {size}")
    height, width, _ = image.shape
    side = max(width, 1)
    top, left = (side - height) // 2, (side - width) // 2
    square = torch.zeros(3, side, side)
    square[:, max(top, 0) : max(top, 0) + height, left : left + width] = (image.permute(2, 0, 1) / 255)[:, :side]
    chosen = torch.arange(size) * side // size
    return square[:, chosen][:, :, chosen].unsqueeze(0)
