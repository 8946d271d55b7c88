# Way: in numpy, as a difference of logarithms
def sqnr_db(x, y):
    if x.shape != y.shape or x.numel() == 0:
        raise ValueError("x and y do not fit")
    clean, quantized = x.numpy().astype(np.float64), y.numpy().astype(np.float64)
    noise, signal = np.sum((clean - quantized) ** 2), np.sum(clean**2)
    if noise == 0:
        return math.inf
    if signal == 0:
        return -math.inf
    return float(10 * (np.log10(signal) - np.log10(noise)))
