# Mistake: the true derivative: 0 everywhere
# Rule: where the code does not saturate, the first and last code included, the gradient passes unchanged
class FakeQuantize(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, scale, zero_point, quant_min, quant_max):
        code = torch.round(x / scale) + zero_point
        ctx.save_for_backward((code >= quant_min) & (code <= quant_max))
        return (code.clamp(quant_min, quant_max) - zero_point) * scale

    @staticmethod
    def backward(ctx, grad):
        return torch.zeros_like(grad), None, None, None, None
