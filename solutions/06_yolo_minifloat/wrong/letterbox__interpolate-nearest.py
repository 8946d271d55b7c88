# Mistake: leaves the resizing to interpolate, whose quotient is rounded
# Rule: row i of the result is row floor(i * side / size) of the square
def letterbox(image, size):
    if not (image.dtype == torch.uint8 and image.dim() == 3 and image.shape[-1] == 3 and len(image) and image.shape[1]):
        raise ValueError("not a picture")
    if size <= 0:
        raise ValueError("no pixels")
    x = image.movedim(-1, 0).float().div(255)[None]
    down, right = max(x.shape[2:]) - x.shape[2], max(x.shape[2:]) - x.shape[3]
    x = functional.pad(x, (right // 2, right - right // 2, down // 2, down - down // 2))
    return functional.interpolate(x, size=(size, size), mode="nearest")
