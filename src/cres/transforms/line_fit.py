"""A line fitted to a few bins around it, by products with a table: where it stands between them, and how high it is."""

from __future__ import annotations

import math

import torch
from jaxtyping import Complex, Float
from torch import Tensor

LineFits = Float[Tensor, "bin fit"]
ROWS, OFFSETS = 3, 33
"""A step that starts within a sixty-fourth of a bin of the line leaves nothing to a second one."""


def line_fits(beside: int) -> LineFits:
    """Return what fits a line to a bin and so many on either side, for each of some offsets from the middle one.

    A line at δ puts (−1)^k a sinc(δ − k) into bin k. For each offset δ come three columns: two that make the
    least-squares a and the coefficient of the slope in δ, whose ratio moves the line (a Gauss–Newton step), and the
    unit vector along the line, whose product is largest at the offset that is nearest. float64, all offsets of a
    column beside each other.
    """
    index = torch.arange(-beside, beside + 1, dtype=torch.float64)
    x = torch.linspace(-0.5, 0.5, OFFSETS, dtype=torch.float64)[:, None] - index
    shape = torch.sinc(x)
    slope = torch.where(x == 0, 0.0, (torch.cos(math.pi * x) - shape) / torch.where(x == 0, 1.0, x))
    unit = shape / torch.linalg.vector_norm(shape, dim=1, keepdim=True)
    rows = torch.cat((torch.linalg.pinv(torch.stack((shape, slope), dim=2)), unit[:, None]), dim=1)
    return (rows * torch.where(index % 2 == 0, 1.0, -1.0)).permute(2, 1, 0).reshape(len(index), -1)


def fitted(
    bins: Complex[Tensor, "batch bin channel"], fits: LineFits
) -> tuple[Float[Tensor, "batch"], Float[Tensor, "batch"]]:
    """Return place from half a bin below the middle one (float64) and height of the line that fits bins best.

    All channels together, each with a height of its own. The product is one of float64: TF32, where a program allows
    it, would round the place.
    """
    values = torch.view_as_real(bins).flatten(2).transpose(1, 2)
    found = torch.mm(values.reshape(-1, values.shape[2]).double(), fits)
    found = found.view(-1, values.shape[1], ROWS, OFFSETS)
    best = torch.linalg.vector_norm(found[:, :, 2], dim=1).argmax(dim=1)
    chosen = found.gather(3, best.view(-1, 1, 1, 1).expand(-1, found.shape[1], ROWS, 1))
    height, moved, _ = chosen.squeeze(3).unbind(dim=2)
    power = torch.linalg.vecdot(height, height)
    step = torch.linalg.vecdot(moved, height) / power.clamp(min=torch.finfo(power.dtype).tiny)
    return torch.add(step.clamp(-0.5, 0.5), best, alpha=1 / (OFFSETS - 1)), power.sqrt().to(values.dtype)
