# Mistake: leaves the gradient to torch, which knows that a staircase is flat
# Rule: where the code does not saturate, the first and last code included, the gradient passes unchanged
class FakeQuantize:
    @staticmethod
    def apply(x, scale, zero_point, quant_min, quant_max):
        code = torch.round(x / scale) + zero_point
        return (code.clamp(quant_min, quant_max) - zero_point) * scale
