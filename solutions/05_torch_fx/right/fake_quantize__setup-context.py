# Way: forward without ctx, and setup_context
class FakeQuantize(torch.autograd.Function):
    @staticmethod
    def forward(x, scale, zero_point, quant_min, quant_max):
        steps = (x / scale).round()
        return steps.clamp(quant_min - zero_point, quant_max - zero_point) * scale

    @staticmethod
    def setup_context(ctx, inputs, output):
        x, scale, zero_point, quant_min, quant_max = inputs
        steps = (x / scale).round()
        ctx.save_for_backward(steps.eq(steps.clamp(quant_min - zero_point, quant_max - zero_point)))

    @staticmethod
    def backward(ctx, grad):
        return torch.where(ctx.saved_tensors[0], grad, torch.zeros_like(grad)), None, None, None, None
