"""Stretches of a series that are drawn at random, keyed by event: what masked pre-training hides."""

from __future__ import annotations

import torch
from torch import Tensor

from reconstruction.random.keyed import KeyedRandom
from reconstruction.shapes import Bool, Float


def draw_stretches(
    weight: Float[Tensor, "batch position"],
    random: KeyedRandom,
    *,
    share: float,
    length: int,
    towards_weight: float = 0.0,
    real: Bool[Tensor, "batch position"] | None = None,
) -> Bool[Tensor, "batch position"]:
    """Return which positions lie in the drawn stretches: about `share` of each row's, `length` positions a stretch.

    A row is cut into stretches, from a random first position on, and so many of them are drawn, none twice: with equal
    chances where `towards_weight` is 0, in proportion to the sum of `weight` (not negative) within them where it is 1,
    and with a mixture of both chances between. At least one is drawn and, of two or more, one left. `real`: positions
    that hold something (default: all); the others are never drawn.

    Drawn without replacement: Gumbel noise is added to the logarithms of the chances, and the largest are taken
                                                                        Kool et al. 2019, arXiv:1903.06059, sec. 2.3
    """
    if real is None:
        real = torch.ones_like(weight, dtype=torch.bool)
    stretch, count = _cut(weight, length, random)
    sizes, weights = (_sums(one * real, stretch, count) for one in (torch.ones_like(weight), weight))
    chance = _chance(sizes, weights, towards_weight)
    uniform = random.uniform(count, stream="stretches").to(weight.dtype).clamp(min=2.0**-25)
    rank = (chance.log() - torch.log(-uniform.log())).argsort(dim=1, descending=True).argsort(dim=1)
    wanted = torch.round(share * sizes.sum(dim=1) / length).long()
    wanted = torch.minimum(wanted, (sizes > 0).sum(dim=1) - 1).clamp(min=1)
    return (rank < wanted.unsqueeze(1)).gather(1, stretch) & real


def _cut(weight: Tensor, length: int, random: KeyedRandom) -> tuple[Tensor, int]:
    """Return the stretch that each position (batch, position) lies in, and how many there may be."""
    batch, positions = weight.shape
    before = (random.uniform(1, stream="first stretch") * length).long().clamp(max=length - 1)
    place = torch.arange(positions, device=weight.device)
    stretch = torch.div(place + before, length, rounding_mode="floor")
    return stretch.expand(batch, positions), (positions + length - 2) // length + 1


def _sums(values: Tensor, stretch: Tensor, count: int) -> Tensor:
    return values.new_zeros(len(values), count).scatter_add_(1, stretch, values)


def _chance(sizes: Tensor, weights: Tensor, towards_weight: float) -> Tensor:
    """Return the chances of the stretches: zero for those that hold nothing real, the smallest without weight."""
    tiny = torch.finfo(sizes.dtype).tiny
    equal = sizes / sizes.sum(dim=1, keepdim=True).clamp(min=1)
    towards = weights / weights.sum(dim=1, keepdim=True).clamp(min=tiny)
    mixed = (1 - towards_weight) * equal + towards_weight * towards
    return torch.where(sizes > 0, mixed.clamp(min=tiny), 0)
