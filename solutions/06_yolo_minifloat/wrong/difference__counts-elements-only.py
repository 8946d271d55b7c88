# Mistake: compares how many elements there are
# Rule: tensors of different shapes are refused with a ValueError
def difference(data_q, data_origin):
    if data_q.numel() != data_origin.numel():
        raise ValueError(f"the shapes {tuple(data_q.shape)} and {tuple(data_origin.shape)} differ")
    if data_q.numel() == 0:
        raise ValueError("there is no element, and so no mean")
    return (data_q.double() - data_origin.double()).square().mean().item()
