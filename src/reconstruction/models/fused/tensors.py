"""Which features the encoders' own kernels read: such as lie on a device that runs kernels, in few bits."""

from __future__ import annotations

import torch
from torch import Tensor

from reconstruction import kernels

_PRECISIONS = frozenset((torch.float32, torch.bfloat16, torch.float16))


def fusible(*tensors: Tensor) -> bool:
    """Whether kernels with a gradient of their own may take these tensors: they count in float32."""
    return all(one.dtype in _PRECISIONS for one in tensors) and kernels.usable(*tensors, with_gradient=True)
