# Mistake: gives numpy's integers
# Rule: the result is a tuple of three Python ints
def float32_fields(x):
    pattern = np.float32(x).view(np.uint32)
    return pattern >> np.uint32(31), (pattern >> np.uint32(23)) & np.uint32(255), pattern & np.uint32(2**23 - 1)
