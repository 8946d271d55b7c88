# Way: each layer on a line of its own, as in the document
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
        names = ["layer1_conv", "layer2_pool", "layer3_conv", "layer4_pool", "layer5_flat"]
        names += ["layer6_fc", "layer7_fc", "layer8_fc", "output"]
        self.calibration_input_stats = {n: {"min": [], "max": []} for n in names}
        m = self.model
        for x in batches:
            if not torch.isfinite(x).all():
                raise ValueError("NaN")
            seen = [x]
            with torch.no_grad():
                seen.append(F.relu(m.layer1_conv(seen[-1])))
                seen.append(m.layer2_pool(seen[-1]))
                seen.append(F.relu(m.layer3_conv(seen[-1])))
                seen.append(m.layer4_pool(seen[-1]))
                seen.append(m.layer5_flat(seen[-1]))
                seen.append(F.relu(m.layer6_fc(seen[-1])))
                seen.append(F.relu(m.layer7_fc(seen[-1])))
                seen.append(m.layer8_fc(seen[-1]))
            for name, values in zip(names, seen, strict=True):
                self.calibration_input_stats[name]["min"].append(values.min().item())
                self.calibration_input_stats[name]["max"].append(values.max().item())
        if not self.calibration_input_stats["output"]["min"]:
            raise ValueError("no batches")
        for entry in self.calibration_input_stats.values():
            entry["avg_min"] = float(np.mean(entry["min"]))
            entry["avg_max"] = float(np.mean(entry["max"]))
            entry["input_scalefactor"], entry["input_zeropoint"] = scale_and_zeropoint(
                entry["avg_min"], entry["avg_max"]
            )

    def run_calibrated_quantized(self, x):
        def grid(name):
            entry = self.calibration_input_stats[name]
            return entry["input_scalefactor"], entry["input_zeropoint"]

        one, three, six, seven, eight = map(grid, ("layer1_conv", "layer3_conv", "layer6_fc", "layer7_fc", "layer8_fc"))
        out = grid("output")
        layers, m = self.quantized_layers, self.model
        q = quantize(x, *one)
        q = layers["layer1_conv"].run_quantized_layer(q, *one, *three).clamp(min=three[1])
        q = m.layer2_pool(q)
        q = layers["layer3_conv"].run_quantized_layer(q, *three, *six).clamp(min=six[1])
        q = m.layer5_flat(m.layer4_pool(q))
        q = layers["layer6_fc"].run_quantized_layer(q, *six, *seven).clamp(min=seven[1])
        q = layers["layer7_fc"].run_quantized_layer(q, *seven, *eight).clamp(min=eight[1])
        q = layers["layer8_fc"].run_quantized_layer(q, *eight, *out)
        return dequantize(q, *out)
