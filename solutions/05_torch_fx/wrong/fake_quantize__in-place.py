# Mistake: rounds x itself
# Rule: x itself is not changed
class FakeQuantize(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, scale, zero_point, quant_min, quant_max):
        code = x.detach().div_(scale).round_() + zero_point
        ctx.save_for_backward((code >= quant_min) & (code <= quant_max))
        return (code.clamp(quant_min, quant_max) - zero_point) * scale

    @staticmethod
    def backward(ctx, grad):
        (inside,) = ctx.saved_tensors
        return grad * inside, None, None, None, None
