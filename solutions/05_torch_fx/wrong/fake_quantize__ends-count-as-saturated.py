# Mistake: cuts the gradient at the first and last code
# Rule: where the code does not saturate, the first and last code included, the gradient passes unchanged
class FakeQuantize(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, scale, zero_point, quant_min, quant_max):
        code = torch.round(x / scale) + zero_point
        ctx.save_for_backward((code > quant_min) & (code < quant_max))
        return (code.clamp(quant_min, quant_max) - zero_point) * scale

    @staticmethod
    def backward(ctx, grad):
        (inside,) = ctx.saved_tensors
        return grad * inside, None, None, None, None
