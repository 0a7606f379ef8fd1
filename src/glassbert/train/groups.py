"""Which parameters train, at which rate, and with weight decay or without."""

from __future__ import annotations

from typing import Any

from torch import nn

from glassbert.errors import ConfigError
from glassbert.model import BertModel, BertPreTrainedModel
from glassbert.train.checks import check_number, check_switch


def parameter_groups(
    model: nn.Module,
    weight_decay: float,
    *,
    learning_rate: float | None = None,
    layer_decay: float | None = None,
    head_learning_rate: float | None = None,
    adaptation: bool = False,
) -> list[dict[str, Any]]:
    """Sort trainable parameters into groups for an optimizer.

    There are always those with weight decay and those without (all biases, all of LayerNorm). With `layer_decay` each
    of them is divided by depth: the embeddings have depth 0, the L layers 1 to L, a pooler L + 1, and the head, which
    is all that stands outside the BERT, L + 2. Depth d has the rate learning_rate · layer_decay^(L + 2 - d). A tied
    weight belongs to the embeddings.

    Sources: AdamWeightDecayOptimizer of google-research/bert for the decay; ELECTRA (arXiv 2003.10555) and its code for
    the rates.

    Args:
        model: any module; one of ours, or of yours with a `BertModel` under its `base_model_prefix`, where
            `layer_decay` or `head_learning_rate` is given.
        weight_decay: of the weights that have one.
        learning_rate: rate of the head, or of all groups where there is no `layer_decay`. None leaves it to the
            optimizer.
        layer_decay: factor from one depth to the one below, more than 0 and at most 1.
        head_learning_rate: rate of the head, whatever the others have.
        adaptation: whether groups have `adapted` too, for `Lamb`: biases and LayerNorm are not.

    Returns:
        Groups with `params`, `weight_decay` and, where a rate was given, `lr`. Where all parts have one rate there are
        two, with decay and without, either perhaps empty; else none is empty, and they go from the embeddings upwards.

    Raises:
        ConfigError: a value out of range, by name; a model without a BERT; `layer_decay` without `learning_rate`.
    """
    check_number("weight_decay", weight_decay, least=0.0)
    check_switch("adaptation", adaptation)
    for name, rate in (("learning_rate", learning_rate), ("head_learning_rate", head_learning_rate)):
        if rate is not None:
            check_number(name, rate)
    rates, depths = _rates(model, learning_rate, layer_decay, head_learning_rate)
    without = {
        id(parameter)
        for module in model.modules()
        for name, parameter in module.named_parameters(recurse=False)
        if name == "bias" or isinstance(module, nn.LayerNorm)
    }
    # Depths of one rate share their groups, since each group costs the optimizer a call.
    groups: dict[tuple[float | None, bool], list[nn.Parameter]] = {
        (rate, decayed): [] for rate in rates for decayed in (True, False)
    }
    for parameter in model.parameters():
        if parameter.requires_grad:
            groups[rates[depths[id(parameter)]], id(parameter) not in without].append(parameter)
    return [
        {"params": members, "weight_decay": weight_decay if decayed else 0.0}
        | ({} if rate is None else {"lr": rate})
        | ({"adapted": decayed} if adaptation else {})
        for (rate, decayed), members in groups.items()
        if members or len(groups) == 2
    ]


def freeze(model: BertPreTrainedModel, *, embeddings: bool = True, layers: int = 0) -> list[str]:
    """Let the embeddings and the first layers keep their weights, and the other layers train.

    Afterwards exactly what is named is frozen among the embeddings and the layers, so a later call with less unfreezes
    the rest, and `freeze(model, embeddings=False)` all of it. Pooler and head stay as they are. Frozen parts cost no
    backward pass (below the lowest part that trains), no gradients and no moments; their dropout goes on.

    Call it before the optimizer is made: `parameter_groups` leaves frozen parameters out, and one that is unfrozen
    later comes in by `optimizer.add_param_group`. A vocabulary projection that is tied to the embeddings is frozen with
    them.

    Args:
        model: one of ours, or of yours with a `BertModel` under its `base_model_prefix`.
        embeddings: whether the embeddings are frozen.
        layers: how many layers are frozen, counted from the embeddings.

    Returns:
        The names of the frozen parameters among them.

    Raises:
        ConfigError: more layers than there are, or a model without a BERT.
    """
    check_switch("embeddings", embeddings)
    bert = _bert_of(model)
    count = len(bert.encoder.layer)
    if type(layers) is not int or not 0 <= layers <= count:
        raise ConfigError(f"layers is {layers!r}, expected how many of the {count} layers to freeze: 0 to {count}")
    parts: list[nn.Module] = [bert.embeddings, *bert.encoder.layer]
    frozen: set[int] = set()
    for number, part in enumerate(parts):
        still = embeddings if number == 0 else number <= layers
        part.requires_grad_(not still)
        if still:
            frozen.update(map(id, part.parameters()))
    return [name for name, parameter in model.named_parameters() if id(parameter) in frozen]


def _bert_of(model: nn.Module) -> BertModel:
    base = model
    while isinstance(base, BertPreTrainedModel) and base.base_model is not base:
        base = base.base_model
    if not isinstance(base, BertModel):
        prefix = getattr(model, "base_model_prefix", "bert")
        raise ConfigError(
            f"{type(model).__name__} has no BertModel under {prefix!r}, so it has no layers to tell apart"
        )
    return base


def _rates(
    model: nn.Module, learning_rate: float | None, layer_decay: float | None, head_learning_rate: float | None
) -> tuple[list[float | None], dict[int, int]]:
    """Return the rate of each depth, and the depth of each parameter by its id."""
    if layer_decay is None and head_learning_rate is None:
        return [learning_rate], {id(parameter): 0 for parameter in model.parameters()}
    bert = _bert_of(model)
    parts = [bert.embeddings, *bert.encoder.layer, bert, model]
    depths: dict[int, int] = {}
    for depth, part in enumerate(parts):
        for parameter in part.parameters():
            depths.setdefault(id(parameter), depth)
    top = len(parts) - 1
    rates = [learning_rate] * len(parts)
    if layer_decay is not None:
        if learning_rate is None:
            raise ConfigError("layer_decay needs learning_rate, the rate of the head, to work the others out from")
        check_number("layer_decay", layer_decay)
        if layer_decay > 1.0:
            raise ConfigError(f"layer_decay is {layer_decay!r}, expected more than 0 and at most 1")
        rates = [learning_rate * layer_decay ** (top - depth) for depth in range(len(parts))]
    if head_learning_rate is not None:
        if top not in depths.values():
            raise ConfigError(f"head_learning_rate is {head_learning_rate!r}, but {type(model).__name__} has no head")
        rates[top] = head_learning_rate
    return rates, depths
