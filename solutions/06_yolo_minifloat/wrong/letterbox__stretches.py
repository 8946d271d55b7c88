# Mistake: stretches instead of padding
# Rule: the picture lies in the middle of a black square
def letterbox(image, size):
    if image.dtype != torch.uint8 or image.dim() != 3 or image.shape[2] != 3 or image.numel() == 0 or size < 1:
        raise ValueError("no picture")
    height, width, _ = image.shape
    rows, columns = torch.arange(size) * height // size, torch.arange(size) * width // size
    return (image.permute(2, 0, 1) / 255)[:, rows][:, :, columns].unsqueeze(0)
