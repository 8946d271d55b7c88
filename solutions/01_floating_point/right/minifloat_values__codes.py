# Way: from the codes, by shifting
def minifloat_values(exponent_bits, mantissa_bits):
    if min(exponent_bits, mantissa_bits) < 1 or exponent_bits > 8 or mantissa_bits > 10:
        raise ValueError("bits out of range")
    found = []
    for code in range(2 ** (exponent_bits + mantissa_bits)):
        field, fraction = divmod(code, 2**mantissa_bits)
        if field == 2**exponent_bits - 1:
            break
        whole = fraction + (2**mantissa_bits if field else 0)
        found.append(math.ldexp(whole, max(field, 1) - 2 ** (exponent_bits - 1) + 1 - mantissa_bits))
    positive = np.array(found, dtype=np.float32)
    return torch.from_numpy(np.concatenate([-positive[:0:-1], positive]))
