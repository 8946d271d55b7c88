# Mistake: grids of its own: one for each weight tensor
# Rule: the grids are those of get_default_qconfig_mapping(ENGINE)
def quantize_with_fx(model, batches):
    if model.training:
        raise ValueError("the model must be in eval mode")
    if len(batches) == 0:
        raise ValueError("nothing to calibrate with")
    prepared = prepare_fx(
        copy.deepcopy(model),
        torch.ao.quantization.QConfigMapping().set_global(torch.ao.quantization.default_qconfig),
        (batches[0],),
    )
    with torch.no_grad():
        for batch in batches:
            prepared(batch)
    return convert_fx(prepared)
