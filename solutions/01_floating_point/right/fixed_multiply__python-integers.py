# Way: element by element in Python's whole numbers
def fixed_multiply(a, b, fraction_bits):
    if fraction_bits not in range(32):
        raise ValueError("fraction_bits must lie in 0..31")
    codes = []
    for m, n in zip(a.flatten().tolist(), b.flatten().tolist(), strict=True):
        whole, rest = divmod(m * n, 2**fraction_bits)
        if 2 * rest >= 2**fraction_bits:
            whole += 1
        codes.append(min(max(whole, -(2**31)), 2**31 - 1))
    return torch.tensor(codes, dtype=torch.int64).reshape(a.shape)
