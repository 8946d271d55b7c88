# Way: in numpy, by dividing
def fixed_multiply(a, b, fraction_bits):
    if fraction_bits < 0 or fraction_bits > 31:
        raise ValueError("fraction_bits must lie in 0..31")
    product = a.numpy().astype(np.int64) * b.numpy().astype(np.int64)
    doubled = np.floor_divide(product, np.int64(2**fraction_bits) // 2 or 1)
    codes = (doubled + 1) // 2 if fraction_bits else product
    return torch.as_tensor(np.clip(codes, -(2**31), 2**31 - 1)).reshape(a.shape)
