# Mistake: multiplies by 1 / scale
# Rule: x is divided by the scale
class FakeQuantize(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, scale, zero_point, quant_min, quant_max):
        code = torch.round(x * (1 / torch.tensor(scale, dtype=x.dtype))) + zero_point
        ctx.save_for_backward((code >= quant_min) & (code <= quant_max))
        return (code.clamp(quant_min, quant_max) - zero_point) * scale

    @staticmethod
    def backward(ctx, grad):
        (inside,) = ctx.saved_tensors
        return grad * inside, None, None, None, None
