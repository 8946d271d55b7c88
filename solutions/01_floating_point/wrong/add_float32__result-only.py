# Mistake: gives the result and no steps
# Rule: the steps are a dict with the keys
def add_float32(a, b):
    if not (math.isfinite(a) and math.isfinite(b)):
        raise ValueError("only finite numbers")
    return {"result": float(np.float32(a) + np.float32(b))}
