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
        for name, parameter in module.named_parameters():
            if name in self.other:
                self.other[name].lerp_(parameter, 1 - decay)
            else:
                self.other[name] = parameter.detach().clone()

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


def evaluation_weights(checkpoint: Mapping[str, Any]) -> dict[str, Tensor]:
    """Return the state to predict with: the average of the weights where there is one, else the weights."""
    weights = dict(checkpoint["state_dict"])
    average = checkpoint[AVERAGE]
    if not average["in_use"]:
        weights |= {f"reconstructor.{name}": value for name, value in average["other"].items()}
    return weights
