# Mistake: hooks are taken away at the end only: a batch with NaN leaves them on the model
# Rule: the model is not changed, not even by a call that raises
class QuantizerForClassyClassifier:
    def __init__(self, model):
        self.model = model
        self.quantized_layers = {
            name: QuantizedLayer(layer)
            for name, layer in model.named_children()
            if isinstance(layer, (nn.Conv2d, nn.Linear))
        }
        self.calibration_input_stats = {}

    def calibrate(self, batches):
        stats = {name: {"min": [], "max": []} for name in (*LAYERS, "output")}

        def note(name, x):
            stats[name]["min"].append(float(x.min()))
            stats[name]["max"].append(float(x.max()))

        handles = [
            child.register_forward_pre_hook(lambda _, inputs, name=name: note(name, inputs[0]))
            for name, child in self.model.named_children()
            if name in LAYERS
        ]
        with torch.no_grad():
            for batch in batches:
                if not torch.isfinite(batch).all():
                    raise ValueError("not finite")
                note("output", self.model(batch))
        for handle in handles:
            handle.remove()
        if not stats["output"]["min"]:
            raise ValueError("no batch")
        for entry in stats.values():
            entry["avg_min"] = sum(entry["min"]) / len(entry["min"])
            entry["avg_max"] = sum(entry["max"]) / len(entry["max"])
            grid = scale_and_zeropoint(entry["avg_min"], entry["avg_max"])
            entry["input_scalefactor"], entry["input_zeropoint"] = grid
        self.calibration_input_stats = stats

    def run_calibrated_quantized(self, x):
        stats = self.calibration_input_stats

        def grid_of(name):
            return stats[name]["input_scalefactor"], stats[name]["input_zeropoint"]

        weighted = [name for name in LAYERS if name in self.quantized_layers]
        following = dict(zip(weighted, [*weighted[1:], "output"], strict=True))
        grid = grid_of("layer1_conv")
        q = quantize(x, *grid)
        for name in LAYERS:
            if name in following:
                out = grid_of(following[name])
                q = self.quantized_layers[name].run_quantized_layer(q, *grid, *out)
                if name in RELU_AFTER:
                    q = q.clamp(min=out[1])
                grid = out
            elif "pool" in name:
                q = F.max_pool2d(q, 2)
            else:
                q = q.flatten(1)
        return dequantize(q, *grid)
