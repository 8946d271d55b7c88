# Way: everything by its full name, calibration in a helper
def quantize_with_fx(model, batches):
    from torch.ao import quantization
    from torch.ao.quantization import quantize_fx

    if model.training:
        raise ValueError("eval mode, please")
    batches = list(batches)
    if not batches:
        raise ValueError("no batch")
    mapping = quantization.QConfigMapping().set_global(quantization.get_default_qconfig(ENGINE))
    observed = quantize_fx.prepare_fx(symbolic_copy := copy.deepcopy(model), mapping, tuple(batches[:1]))

    @torch.no_grad()
    def calibrate():
        for batch in reversed(batches):
            observed(batch)

    calibrate()
    del symbolic_copy
    return quantize_fx.convert_fx(observed)
