# Mistake: resizes the picture and pads then
# Rule: row i of the result is row floor(i * side / size)
def letterbox(image, size):
    if image.dtype != torch.uint8 or image.dim() != 3 or image.shape[2] != 3 or image.numel() == 0 or size < 1:
        raise ValueError("no picture")
    height, width, _ = image.shape
    side = max(height, width)
    new_height, new_width = max(1, height * size // side), max(1, width * size // side)
    rows, columns = torch.arange(new_height) * height // new_height, torch.arange(new_width) * width // new_width
    small = (image.permute(2, 0, 1) / 255)[:, rows][:, :, columns]
    top, left = (size - new_height) // 2, (size - new_width) // 2
    return functional.pad(small, (left, size - new_width - left, top, size - new_height - top)).unsqueeze(0)
