# Way: by a view of numpy, and divmod
def float32_fields(x):
    pattern = int(np.array(x, dtype=np.float32).view(np.uint32))
    rest, fraction = divmod(pattern, 2**23)
    sign, exponent = divmod(rest, 2**8)
    return sign, exponent, fraction
