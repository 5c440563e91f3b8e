"""Precision of tensors."""

from __future__ import annotations

import torch
from torch import Tensor


def in_precision(values: Tensor, dtype: torch.dtype) -> Tensor:
    """Return values in a precision; those that have it as they are, without asking torch."""
    return values if values.dtype == dtype else values.to(dtype)
