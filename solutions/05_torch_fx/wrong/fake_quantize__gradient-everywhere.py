# Mistake: passes the gradient outside, too
# Rule: where the code saturates the gradient is 0
class FakeQuantize(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, scale, zero_point, quant_min, quant_max):
        code = torch.round(x / scale) + zero_point
        ctx.save_for_backward((code >= quant_min) & (code <= quant_max))
        return (code.clamp(quant_min, quant_max) - zero_point) * scale

    @staticmethod
    def backward(ctx, grad):
        return grad, None, None, None, None
