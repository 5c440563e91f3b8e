"""The sum over records of one spectrum times the conjugate of another, in one kernel that reads each once."""

from __future__ import annotations

import torch
from torch import Tensor

from reconstruction import kernels
from reconstruction.shapes import Complex

_BLOCK = 256
"""Numbers of a program."""
_PROGRAMS = 1024
"""So many keep a GPU busy: where one record has fewer blocks, the records are shared out."""


def summed_correlation(
    first: Complex[Tensor, "batch channel bin"], second: Complex[Tensor, "batch channel bin"]
) -> Complex[Tensor, "channel bin"]:
    """Return Σ first · conj(second) over the records; torch's operations take three passes over all numbers for it."""
    if first.dtype != torch.complex64 or not kernels.usable(first, second):
        return (first * second.conj_physical()).sum(dim=0)
    from reconstruction.models.fused.triton_kernels import correlate

    # conj() of torch's is a note on a tensor, and no other numbers
    first, second = (torch.view_as_real(one.resolve_conj().contiguous()) for one in (first, second))
    records, numbers = first.shape[0], first[0].numel() // 2
    blocks = -(-numbers // _BLOCK)
    # a power of two: each share is a kernel that is compiled
    share = 1 << (-(-records // max(1, _PROGRAMS // blocks)) - 1).bit_length()
    shares = -(-records // share)
    result = first.new_empty(shares, *first.shape[1:])
    with torch.cuda.device_of(first):
        correlate[(blocks, shares)](first, second, result, records, numbers, SHARE=share, BLOCK=_BLOCK)
    return torch.view_as_complex(result.sum(dim=0))
