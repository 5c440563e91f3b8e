"""Optimiser groups from module types: tags on parameters are lost by deepcopy (averaged and exported models)."""

from __future__ import annotations

from typing import Any

from torch import nn

from cres.models.s4d_layer import Dynamics


def optimizer_groups(module: nn.Module, lr: float, weight_decay: float, ssm_lr: float) -> list[dict[str, Any]]:
    """Return parameter groups: `ssm` (Δ and A: own learning rate, no decay), `plain` (vectors: no decay), `decayed`.

    Every parameter that requires a gradient is in exactly one group; empty groups are left out.
    """
    dynamics = {
        id(parameter) for part in module.modules() if isinstance(part, Dynamics) for parameter in part.parameters()
    }
    groups: dict[str, dict[str, Any]] = {
        "decayed": {"lr": lr, "weight_decay": weight_decay, "params": []},
        "plain": {"lr": lr, "weight_decay": 0.0, "params": []},
        "ssm": {"lr": ssm_lr, "weight_decay": 0.0, "params": []},
    }
    for parameter in module.parameters():
        if not parameter.requires_grad:
            continue
        name = "ssm" if id(parameter) in dynamics else "plain" if parameter.ndim < 2 else "decayed"
        groups[name]["params"].append(parameter)
    return [{"name": name, **group} for name, group in groups.items() if group["params"]]
