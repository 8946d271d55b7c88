# Way: Python's whole numbers in numpy arrays
def fixed_multiply(a, b, fraction_bits):
    if fraction_bits not in range(32):
        raise ValueError("fraction_bits")
    result = [
        min(max((2 * m * n + 2**fraction_bits) >> (fraction_bits + 1), -(2**31)), 2**31 - 1)
        for m, n in zip(a.flatten().tolist(), b.flatten().tolist(), strict=True)
    ]
    return torch.tensor(result, dtype=torch.int64).reshape(a.shape)
