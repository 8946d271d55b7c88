# Way: in NumPy
def difference(data_q, data_origin):
    a, b = data_q.detach().numpy().astype(np.float64), data_origin.detach().numpy().astype(np.float64)
    if a.shape != b.shape or a.size == 0:
        raise ValueError(f"cannot compare {a.shape} with {b.shape}")
    return float(np.mean((a - b) ** 2))
