# Way: without torch's reductions
def difference(data_q, data_origin):
    if data_q.shape != data_origin.shape:
        raise ValueError("different shapes")
    pairs = list(zip(data_q.flatten().tolist(), data_origin.flatten().tolist(), strict=True))
    if len(pairs) == 0:
        raise ValueError("empty")
    return math.fsum((q - x) ** 2 for q, x in pairs) / len(pairs)
