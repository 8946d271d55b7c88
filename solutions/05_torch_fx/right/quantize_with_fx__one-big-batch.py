# Way: all batches joined into one
def quantize_with_fx(model, batches):
    if model.training or not batches:
        raise ValueError("a model in eval mode and at least one batch are needed")
    everything = torch.cat(list(batches))
    prepared = prepare_fx(copy.deepcopy(model), get_default_qconfig_mapping(ENGINE), example_inputs=(everything[:1],))
    with torch.inference_mode():
        prepared(everything)
    return convert_fx(prepared)
