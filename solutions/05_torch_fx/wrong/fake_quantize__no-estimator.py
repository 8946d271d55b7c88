# Mistake: leaves the gradient to torch, which knows that a staircase is flat
# Rule: the gradient passes unchanged inside the range of codes and is 0 outside
class FakeQuantize:
    @staticmethod
    def apply(x, scale, zero_point, quant_min, quant_max):
        code = torch.round(x / scale) + zero_point
        return (code.clamp(quant_min, quant_max) - zero_point) * scale
