"""What the optimiser sees: groups from module types (tags on parameters are lost by deepcopy), frozen layers."""

from __future__ import annotations

from typing import Any

from torch import nn

from reconstruction.errors import UserError
from reconstruction.models.encoders.base import Encoder
from reconstruction.models.encoders.linoss import Oscillators
from reconstruction.models.encoders.s4d_layer import Dynamics


def optimizer_groups(module: nn.Module, lr: float, weight_decay: float, ssm_lr: float) -> list[dict[str, Any]]:
    """Return parameter groups: `ssm` (Δ and A: own learning rate, no decay), `plain` (vectors: no decay), `decayed`.

    Every parameter that requires a gradient is in exactly one group; empty groups are left out.
    """
    dynamics = {
        id(parameter)
        for part in module.modules()
        if isinstance(part, Dynamics | Oscillators)
        for parameter in part.parameters()
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


def set_trainable(encoder: Encoder, last_layers: int | None) -> None:
    """Let all of an encoder learn (None), nothing of it (0), or only its last k layers with what stands behind them.

    Raises UserError when the encoder has fewer layers.
    """
    layers = encoder.layers
    if last_layers is not None and not 0 <= last_layers <= len(layers):
        raise UserError(f"the encoder has {len(layers)} layers, so that the last {last_layers} cannot be chosen")
    encoder.requires_grad_(last_layers != 0)
    for layer in layers[: len(layers) - (len(layers) if last_layers is None else last_layers)]:
        layer.requires_grad_(False)
