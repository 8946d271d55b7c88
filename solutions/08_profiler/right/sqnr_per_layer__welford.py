# Way: sample by sample, with a small class
class _Sums:
    def __init__(self, shape):
        self.shape = shape
        self.signal = torch.zeros(shape, dtype=torch.float64)
        self.noise = torch.zeros(shape, dtype=torch.float64)

    def add(self, a, b):
        for x, y in zip(a.detach().to(torch.float64), b.detach().to(torch.float64), strict=True):
            self.signal = self.signal + x * x
            self.noise = self.noise + (y - x) ** 2

    def result(self):
        noisy = self.noise != 0
        count = int(noisy.sum())
        if count == 0:
            return (float("inf"), float("inf"), self.noise.numel())
        pairs = self.signal[noisy] / self.noise[noisy]
        ratios = [sum(pairs.tolist()) / count, float(self.signal.sum()) / float(self.noise.sum())]
        mean, sums = [float("-inf") if r == 0 else math.log10(r) * 10 for r in ratios]
        return (mean, sums, self.noise.numel() - count)


def sqnr_per_layer(reference, noisy):
    table = {}
    for a, b in zip(reference, noisy, strict=True):
        for name, x in a.items():
            if x.size() != b[name].size():
                raise ValueError("shapes differ")
            table.setdefault(name, _Sums(x.shape[1:])).add(x, b[name])
    return {name: sums.result() for name, sums in table.items()}
