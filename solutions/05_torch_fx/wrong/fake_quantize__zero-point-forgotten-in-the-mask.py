# Mistake: compares without the zero point
# Rule: where the code saturates the gradient is 0
class FakeQuantize(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, scale, zero_point, quant_min, quant_max):
        code = torch.round(x / scale) + zero_point
        ctx.save_for_backward((code - zero_point >= quant_min) & (code - zero_point <= quant_max))
        return (code.clamp(quant_min, quant_max) - zero_point) * scale

    @staticmethod
    def backward(ctx, grad):
        (inside,) = ctx.saved_tensors
        return grad * inside, None, None, None, None
