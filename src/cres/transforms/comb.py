"""Carrier and line spacing read from all lines of a comb together, once it is known about where they stand.

A carrier and its sidebands at f_c + m Δ hold one f_c and one Δ. Each line m of power P_m, read by itself, is off its
predicted place by e_m = ε + m η and noise of variance ∝ 1/P_m; the weighted least squares over the lines is what they
know together of the offset ε and of the spacing's error η. With one mode the carrier holds nine tenths of the power;
where a port sees lines at odd multiples too it holds a half.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Bool, Complex, Float
from torch import Tensor

from cres.transforms.line_fit import OFFSETS, LineFits
from reconstruction.shapes import PerRow

Powers = Float[Tensor, "line three"]


class Comb(NamedTuple):
    """What the lines together say, in bins of the records."""

    offset: PerRow
    """Of the carrier from where it was taken to be."""
    spacing: PerRow
    """Of the spacing from what it was taken to be."""


def powers_of(orders: tuple[float, ...]) -> Powers:
    """Return 1, m and m² of the lines at m and at −m for each of some orders, float64."""
    both = torch.tensor([sign * order for order in orders for sign in (1, -1)], dtype=torch.float64)
    return both.unsqueeze(1).pow(torch.arange(3))


def read_comb(
    spectrum: Complex[Tensor, "batch frequency channel"],
    spacing: PerRow,
    orders: Powers,
    carrier_power: PerRow,
    fits: LineFits,
) -> Comb:
    """Return how far offset and spacing are from what was assumed: the carrier at bin 0, line m at m · spacing.

    spectrum: FFT of records that are demodulated at their carrier; spacing: in bins; orders: `powers_of` the m, the
    smallest first; carrier_power: |X(0)|², by which the carrier says that it is at 0; fits: `line_fits`. Where the
    first line is so near that what is read around it and the carrier overlaps nothing is corrected. float64.
    """
    beside = fits.shape[0] // 2
    predicted = torch.outer(spacing, orders[:, 1])
    nearest = predicted.round()
    values = torch.view_as_real(_around(spectrum, nearest, beside)).flatten(3).double()
    # in steps of the table's offsets from the nearest bin
    between = (predicted - nearest) * (OFFSETS - 1)
    step = between.round()
    columns = _columns(fits)[step.long() + OFFSETS // 2]
    height, moved = torch.matmul(columns, values).unbind(dim=2)
    power = torch.linalg.vecdot(height, height)
    moves = torch.linalg.vecdot(moved, height) / power.clamp(min=torch.finfo(power.dtype).tiny)
    off = torch.add(moves.clamp(-0.5, 0.5), step - between, alpha=1 / (OFFSETS - 1))
    return _together(orders, power, off, carrier_power, predicted[:, 0] > 2 * beside)


def _columns(fits: LineFits) -> Float[Tensor, "offset two bin"]:
    """Return what makes height and slope at each offset."""
    return fits[:, : 2 * OFFSETS].unflatten(1, (2, OFFSETS)).permute(2, 1, 0)


def _together(
    orders: Powers,
    power: Float[Tensor, "batch line"],
    off: Float[Tensor, "batch line"],
    carrier_power: PerRow,
    apart: Bool[Tensor, "batch"],
) -> Comb:
    """Return the least squares of off = ε + m η, the carrier (m = 0) at 0."""
    flat, slope, square = torch.mm(power, orders).unbind(dim=1)
    of_offset, of_spacing, _ = torch.mm(power * off, orders).unbind(dim=1)
    flat = flat + carrier_power
    determinant = torch.addcmul(flat * square, slope, slope, value=-1).clamp(min=torch.finfo(flat.dtype).tiny)
    # where lines overlap 0 of it is used
    used = apart / determinant
    offset = torch.addcmul(square * of_offset, slope, of_spacing, value=-1)
    spacing = torch.addcmul(flat * of_spacing, slope, of_offset, value=-1)
    return Comb(offset * used, spacing * used)


def _around(
    spectrum: Complex[Tensor, "batch frequency channel"], nearest: Float[Tensor, "batch line"], beside: int
) -> Complex[Tensor, "batch line bin channel"]:
    """Return bins and so many on either side, the spectrum being periodic."""
    near = nearest.unsqueeze(2) + torch.arange(-beside, beside + 1, device=nearest.device)
    index = near.remainder(spectrum.shape[1]).long().flatten(1)
    picked = spectrum.gather(1, index.unsqueeze(2).expand(-1, -1, spectrum.shape[2]))
    return picked.unflatten(1, near.shape[1:])
