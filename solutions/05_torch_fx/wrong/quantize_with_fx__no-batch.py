# Mistake: an empty list passes
# Rule: a model in training mode, or no batch, is refused with a ValueError
def quantize_with_fx(model, batches):
    if model.training:
        raise ValueError("the model must be in eval mode")
    prepared = prepare_fx(copy.deepcopy(model), get_default_qconfig_mapping(ENGINE), (torch.zeros(1, 3, 8, 8),))
    with torch.no_grad():
        for batch in batches:
            prepared(batch)
    return convert_fx(prepared)
