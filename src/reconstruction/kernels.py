"""Where kernels written by hand, in Triton, stand in for several of torch's own: on a GPU that can run them."""

from __future__ import annotations

import importlib.util
import warnings
from functools import cache

import torch
from torch import Tensor, nn

_PLAIN = frozenset((Tensor, nn.Parameter))


def usable(*tensors: Tensor, with_gradient: bool = False) -> bool:
    """Whether kernels may read and write these tensors, of one device.

    What a compiler, an export or a transform of `torch.func` hands on stands for numbers that are not there yet, and so
    do subclasses of tensors; and no gradient follows a kernel, unless it comes `with_gradient`, a kernel of its own.
    Torch's own operations take all of those.
    """
    if torch.compiler.is_compiling() or torch._C._is_tracing() or torch._C._are_functorch_transforms_active():
        return False
    if not all(type(one) in _PLAIN and one.numel() for one in tensors):
        return False
    if not with_gradient and torch.is_grad_enabled() and any(one.requires_grad for one in tensors):
        return False
    return run_on(tensors[0].device) and all(map(_lies_in_memory, tensors))


def _lies_in_memory(values: Tensor) -> bool:
    """Whether there are numbers to point at: not where autograd follows several gradients at once."""
    try:
        return values.data_ptr() != 0
    except (NotImplementedError, RuntimeError):  # how torch says so: in different versions, the one or the other
        return False


def run_on(device: torch.device) -> bool:
    """Whether a device runs kernels that are written in Triton."""
    return device.type == "cuda" and _tried(device)


@cache
def _tried(device: torch.device) -> bool:
    """Make and start one kernel: beside Triton that needs a C compiler, and a card that Triton knows."""
    if importlib.util.find_spec("triton") is None:
        return False
    try:
        from reconstruction.trial_kernel import write_one

        with torch.cuda.device(device):
            write_one[(1,)](torch.empty(1, device=device))
    except Exception as fault:  # of a compiler, a driver, a linker: whatever it is, torch's own kernels go on
        warnings.warn(
            f"Triton cannot make kernels for {device}, so torch's own are used, which are slower: "
            f"{type(fault).__name__}: {fault}",
            stacklevel=2,
        )
        return False
    return True
