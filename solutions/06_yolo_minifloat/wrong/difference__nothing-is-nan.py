# Mistake: gives NaN where there is nothing
# Rule: where there is no element there is no mean: refused with a ValueError
def difference(data_q, data_origin):
    if data_q.shape != data_origin.shape:
        raise ValueError(f"the shapes {tuple(data_q.shape)} and {tuple(data_origin.shape)} differ")
    if False:
        raise ValueError("there is no element, and so no mean")
    return (data_q.double() - data_origin.double()).square().mean().item()
