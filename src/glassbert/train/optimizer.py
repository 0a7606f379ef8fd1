"""The optimizer and the course of its learning rate."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.optim import AdamW, Optimizer
from torch.optim.lr_scheduler import LambdaLR


def parameter_groups(model: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Sort trainable parameters into those with weight decay and those without (all biases, all of LayerNorm).

    Source: AdamWeightDecayOptimizer of google-research/bert.
    """
    without = {
        id(parameter)
        for module in model.modules()
        for name, parameter in module.named_parameters(recurse=False)
        if name == "bias" or isinstance(module, nn.LayerNorm)
    }
    trainable = [parameter for parameter in model.parameters() if parameter.requires_grad]
    return [
        {"params": [p for p in trainable if id(p) not in without], "weight_decay": weight_decay},
        {"params": [p for p in trainable if id(p) in without], "weight_decay": 0.0},
    ]


def make_adamw(model: nn.Module, *, learning_rate: float, weight_decay: float) -> AdamW:
    """Return torch's AdamW (decoupled decay, arXiv 1711.05101) over `parameter_groups`, in its fused form."""
    return AdamW(parameter_groups(model, weight_decay), lr=learning_rate, eps=1e-6, fused=True)


def get_linear_schedule_with_warmup(optimizer: Optimizer, num_warmup_steps: int, num_training_steps: int) -> LambdaLR:
    """Raise the rate in a line from 0 over the warm-up, then lower it in a line to 0 at the last step.

    Source: `get_linear_schedule_with_warmup` of transformers 4.4.2.
    """

    def factor(step: int) -> float:
        if step < num_warmup_steps:
            return step / max(1, num_warmup_steps)
        return max(0.0, (num_training_steps - step) / max(1, num_training_steps - num_warmup_steps))

    return LambdaLR(optimizer, factor)


def clip_gradients(model: nn.Module, max_norm: float) -> float:
    """Scale all gradients so that their joint L2 norm is at most `max_norm`; return the norm before."""
    return float(torch.nn.utils.clip_grad_norm_(model.parameters(), max_norm, foreach=True))
