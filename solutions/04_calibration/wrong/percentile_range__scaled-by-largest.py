# Mistake: divides by the largest magnitude first: values that are all 0 give NaN
# Rule: every p from 50 to 100, and every number of values, gives a range
def percentile_range(values, p):
    if not 50 <= p <= 100:
        raise ValueError("p must be from 50 to 100")
    if values.numel() == 0 or not torch.isfinite(values).all():
        raise ValueError("values must be finite, and there must be some")
    v = values.detach().double().flatten().sort().values
    size = v.abs().max()
    v = v / size  # from -1 to 1: no sum can overflow
    n = len(v)
    result = []
    for percent in (100 - p, p):
        r = (n - 1) * percent / 100
        k = int(r)
        right = min(k + 1, n - 1)
        result.append(float((v[k] + (r - k) * (v[right] - v[k])) * size))
    return tuple(result)
