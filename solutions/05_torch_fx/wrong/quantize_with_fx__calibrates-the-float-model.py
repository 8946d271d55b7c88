# Mistake: runs the batches through the model instead of the prepared network
# Rule: calibration runs every batch through the prepared network
def quantize_with_fx(model, batches):
    if model.training:
        raise ValueError("the model must be in eval mode")
    if len(batches) == 0:
        raise ValueError("nothing to calibrate with")
    prepared = prepare_fx(copy.deepcopy(model), get_default_qconfig_mapping(ENGINE), (batches[0],))
    with torch.no_grad():
        for batch in batches:
            model(batch)
    return convert_fx(prepared)
