"""Precision of tensors and of products."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor


def in_precision(values: Tensor, dtype: torch.dtype) -> Tensor:
    """Return values in a precision; those that have it as they are, without asking torch."""
    return values if values.dtype == dtype else values.to(dtype)


@contextmanager
def exact_convolutions() -> Iterator[None]:
    """Let convolutions of float32 be those of a processor: by default torch rounds their factors to TF32 on a GPU.

    Its three digits are as good as more for a gradient, but not for what is told of an electron.
    """
    before = torch.backends.cudnn.allow_tf32
    torch.backends.cudnn.allow_tf32 = False
    try:
        yield
    finally:
        torch.backends.cudnn.allow_tf32 = before
