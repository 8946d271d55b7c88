# Way: by walking from 0 in steps that double
def minifloat_values(exponent_bits, mantissa_bits):
    if not 1 <= exponent_bits <= 8 or not 1 <= mantissa_bits <= 10:
        raise ValueError("bits out of range")
    count = 2**mantissa_bits
    step = 2.0 ** (2 - 2 ** (exponent_bits - 1) - mantissa_bits)
    walk = [0.0]
    for field in range(2**exponent_bits - 1):
        for _ in range(count):
            walk.append(walk[-1] + step)
        if field:
            step *= 2
    walk.pop()  # the first value of the reserved field
    return torch.tensor([-v for v in reversed(walk[1:])] + walk, dtype=torch.float32)
