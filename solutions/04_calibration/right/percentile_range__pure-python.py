# Way: with a Python list, the lower end by turning the list around
def percentile_range(values, p):
    if not (50 <= p <= 100):
        raise ValueError("p")
    ranked = sorted(values.flatten().tolist())
    if not ranked or any(math.isnan(v) or math.isinf(v) for v in ranked):
        raise ValueError("values")

    def upper(numbers):
        whole, part = divmod((len(numbers) - 1) * p / 100, 1)
        whole = int(whole)
        if whole + 1 == len(numbers):
            return numbers[whole]
        return numbers[whole] + part * (numbers[whole + 1] - numbers[whole])

    return -upper(sorted(-v for v in ranked)), upper(ranked)
