"""Buffers that keep their digits when a model is cast."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn


class ExactBuffers(nn.Module):
    """A module whose own float64 buffers move between devices and stay float64 when a model is cast.

    `model.to(torch.bfloat16)` (Lightning's "bf16-true") would round an energy of 18.6 keV to 64 eV and a carrier of
    25.9 GHz to 100 MHz.
    """

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Any:
        exact = {name: buffer for name, buffer in self._buffers.items() if _is_exact(buffer)}
        super()._apply(fn, recurse)
        for name, buffer in exact.items():
            changed = self._buffers[name]
            if buffer is not None and changed is not None and changed.dtype != torch.float64:
                self._buffers[name] = buffer.to(changed.device)
        return self


def _is_exact(buffer: Tensor | None) -> bool:
    return buffer is not None and buffer.dtype == torch.float64
