# Mistake: takes the mean absolute error
# Rule: the difference is the mean over all elements of the squared errors
def difference(data_q, data_origin):
    if data_q.shape != data_origin.shape:
        raise ValueError(f"the shapes {tuple(data_q.shape)} and {tuple(data_origin.shape)} differ")
    if data_q.numel() == 0:
        raise ValueError("there is no element, and so no mean")
    return (data_q.double() - data_origin.double()).abs().mean().item()
