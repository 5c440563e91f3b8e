"""Small triangular algebra and Gaussian integrals that the distributions share."""

from __future__ import annotations

import math

import torch
from torch import Tensor

LOG_2PI = math.log(2 * math.pi)


def solve(cholesky: Tensor, offsets: Tensor) -> Tensor:
    """L⁻¹ offsets by forward substitution: for a few targets much faster than a batched solver."""
    solved: list[Tensor] = []
    count = offsets.shape[-1]
    entries = cholesky.flatten(-2).unbind(dim=-1)
    for row, rest in enumerate(offsets.unbind(dim=-1)):
        for column, known in enumerate(solved):
            rest = torch.addcmul(rest, entries[row * count + column], known, value=-1)
        solved.append(rest / entries[row * count + row])
    return torch.stack(solved, dim=-1)


def solve_transposed(cholesky: Tensor, offsets: Tensor) -> Tensor:
    """L⁻ᵀ offsets by back substitution."""
    solved: list[Tensor] = []
    count = offsets.shape[-1]
    entries = cholesky.flatten(-2).unbind(dim=-1)
    for row, rest in reversed(list(enumerate(offsets.unbind(dim=-1)))):
        for column, known in zip(range(count - 1, row, -1), solved, strict=True):
            rest = torch.addcmul(rest, entries[column * count + row], known, value=-1)
        solved.append(rest / entries[row * count + row])
    return torch.stack(solved[::-1], dim=-1)


def outer(cholesky: Tensor) -> Tensor:
    """L Lᵀ, elementwise: a matrix product would run in half precision under autocast."""
    return (cholesky.unsqueeze(-2) * cholesky.unsqueeze(-3)).sum(dim=-1)


def mean_distance(offset: Tensor, std: Tensor) -> Tensor:
    """E|offset + std · n| for a standard normal n."""
    z = offset / std
    density = torch.exp(-0.5 * z.square()) / math.sqrt(2 * math.pi)
    return std * (z * torch.erf(z / math.sqrt(2)) + 2 * density)
