# Mistake: puts the model into eval mode silently
# Rule: a model in training mode, or no batch, is refused with a ValueError
def quantize_with_fx(model, batches):
    model = copy.deepcopy(model).eval()
    if len(batches) == 0:
        raise ValueError("nothing to calibrate with")
    prepared = prepare_fx(copy.deepcopy(model), get_default_qconfig_mapping(ENGINE), (batches[0],))
    with torch.no_grad():
        for batch in batches:
            prepared(batch)
    return convert_fx(prepared)
