"""A moving average of the weights: how it is kept, and which weights of a checkpoint predict."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

AVERAGE = "average"
"""Key of a checkpoint."""


class Average:
    """An exponential moving average of the parameters; `swap` exchanges it with the parameters themselves."""

    def __init__(self) -> None:
        self.other: dict[str, Tensor] = {}
        self.in_use = False

    @torch.no_grad()
    def update(self, module: nn.Module, decay: float) -> None:
        """Move the average towards the parameters by 1 − decay; the first call copies them."""
        averages, parameters = [], []
        for name, parameter in module.named_parameters():
            if name in self.other:
                # a checkpoint brings the average back to the processor
                self.other[name] = self.other[name].to(parameter)
                averages.append(self.other[name])
                parameters.append(parameter.detach())
            else:
                self.other[name] = parameter.detach().clone()
        if averages:  # together: on a GPU a few launches, not one a parameter
            torch._foreach_lerp_(averages, parameters, 1 - decay)

    @torch.no_grad()
    def swap(self, module: nn.Module) -> None:
        """Exchange the average and the parameters; nothing happens before the first update."""
        if not self.other:
            return
        for name, parameter in module.named_parameters():
            mine = parameter.detach().clone()
            parameter.copy_(self.other[name])
            self.other[name] = mine
        self.in_use = not self.in_use

    def store(self, checkpoint: dict[str, Any]) -> None:
        """Add to a checkpoint the one of weights and average that its state does not hold."""
        checkpoint[AVERAGE] = {"in_use": self.in_use, "other": dict(self.other)}

    def restore(self, checkpoint: Mapping[str, Any]) -> None:
        """Take the average from a checkpoint, and put the weights themselves into its state, to go on with."""
        stored, weights = checkpoint[AVERAGE], checkpoint["state_dict"]
        self.other = dict(stored["other"])
        if stored["in_use"]:
            self.other = {name: weights[_key(name)] for name in stored["other"]}
            _replace(weights, stored["other"])


def evaluation_weights(checkpoint: Mapping[str, Any]) -> dict[str, Any]:
    """Return the state to predict with: the average of the weights where there is one, else the weights."""
    weights = dict(checkpoint["state_dict"])
    average = checkpoint[AVERAGE]
    if not average["in_use"]:
        _replace(weights, average["other"])
    return weights


def _replace(weights: dict[str, Any], other: Mapping[str, Tensor]) -> None:
    """Put other parameters of the reconstructor into a state, under all names: a decoder's encoder is the same one."""
    names: dict[tuple[int, torch.Size], list[str]] = {}
    for name, value in weights.items():
        if isinstance(value, Tensor) and value.numel():
            names.setdefault((value.data_ptr(), value.shape), []).append(name)
    for name, value in other.items():
        known = weights[_key(name)]
        for alias in names.get((known.data_ptr(), known.shape), [_key(name)]):
            weights[alias] = value


def _key(name: str) -> str:
    """Return the name of a reconstructor's parameter in the state of a checkpoint."""
    return f"reconstructor.{name}"
