# Way: by a dot product
def difference(data_q, data_origin):
    if tuple(data_q.shape) != tuple(data_origin.shape):
        raise ValueError("different shapes")
    error = (data_q.to(torch.float64) - data_origin.to(torch.float64)).flatten()
    if not len(error):
        raise ValueError("nothing to compare")
    return float(torch.dot(error, error)) / len(error)
