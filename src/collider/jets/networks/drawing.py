"""Networks that draw the particles of a jet: the velocity of a flow, and the decoder of a variational model."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Final, NamedTuple

import torch
from torch import Tensor, nn

from collider.jets.networks.blocks import ParticleBlock
from collider.jets.networks.numbers import CONTINUOUS, IMPACT, KINEMATIC, NUMBERS, PARTICLE_KINDS, Drawn, Real
from reconstruction.errors import UserError
from reconstruction.models.flow_matching import FREQUENCIES, VelocityField, waves_of
from reconstruction.models.precision import in_precision
from reconstruction.shapes import Float, Int, PerRow

RANKS: Final = 128
"""The rank in pT of a particle is told in this unit."""
LEAST_SPREAD: Final = 0.05
"""Of a drawn number, in spreads of the training: a density must not grow without bounds."""


Condition = Float[Tensor, "batch condition"]
Features = Float[Tensor, "batch particle width"]
Kind = Int[Tensor, "batch particle"]


class AskedParticles(NamedTuple):
    """What is known of the particles that are to be drawn.

    condition: of the jet. real: where one is to be. read: what an encoder tells of numbers that are being drawn.
    beside: features of particles that are there already, and where they are.
    """

    condition: Condition
    real: Real
    read: Callable[[Drawn], Features] | None = None
    beside: tuple[Features, Real] | None = None


class SlotNetwork(nn.Module):
    """Attention between places for particles, each with its rank in pT, in blocks that are told of the jet.

    told: numbers of each place, told to it. read: width of features of each place, or of the particles beside them.
    """

    def __init__(self, told: int, condition: int, made: int, width: int, depth: int, heads: int, read: int = 0) -> None:
        super().__init__()
        if width % heads:
            raise UserError(f"the width of what draws particles is a multiple of its heads, {heads}, not {width}")
        self.start = nn.Linear(told + 2 * FREQUENCIES, width)
        self.read = nn.Linear(read, width) if read else None
        self.condition = nn.Sequential(nn.Linear(condition, width), nn.GELU(), nn.Linear(width, width), nn.GELU())
        self.scales = nn.ModuleList(nn.Linear(width, 2 * width) for _ in range(depth))
        self.blocks = nn.ModuleList(ParticleBlock(width, heads, 2, 0.0) for _ in range(depth))
        self.end = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, made))

    def forward(self, told: Drawn, asked: AskedParticles, read: Features | None = None) -> Tensor:
        """Return what is made of each place, (batch, particle, made)."""
        count = told.shape[1]
        rank = (torch.arange(count, device=told.device, dtype=told.dtype) / RANKS).unsqueeze(1)
        waves = waves_of(rank).to(told.dtype).expand(len(told), -1, -1)
        values, real = self.start(torch.cat([told, waves], dim=-1)), asked.real
        if self.read is not None and read is not None:
            values = values + self.read(in_precision(read, values.dtype))
        if self.read is not None and asked.beside is not None:
            others, there = asked.beside
            values = torch.cat([values, self.read(in_precision(others, values.dtype))], dim=1)
            real = torch.cat([real, there], dim=1)
        known = self.condition(asked.condition)
        real = real | ~real.any(dim=1, keepdim=True)  # a softmax over nothing is not a number
        for scale, block in zip(self.scales, self.blocks, strict=True):
            factor, shift = scale(known).unsqueeze(1).chunk(2, dim=-1)
            values = block(values * (1 + factor) + shift, None, real)
        made: Tensor = self.end(values[:, :count])
        return made


class ParticleFlow(VelocityField):
    """The velocity of all numbers of all particles of a jet, under what is known of it."""

    def __init__(self, condition: int, width: int, depth: int, heads: int, read: int = 0) -> None:
        super().__init__()
        self.network = SlotNetwork(NUMBERS, condition + 2 * FREQUENCIES, NUMBERS, width, depth, heads, read)

    def velocity(self, place: Drawn, time: Float[Tensor, "batch 1"], given: AskedParticles) -> Drawn:
        """Return v(x, t, jet), zero where no particle is."""
        waves = waves_of(time).to(place.dtype)
        asked = given._replace(condition=torch.cat([given.condition, waves], dim=1))
        read = None if given.read is None else given.read(place)
        made: Tensor = self.network(place, asked, read)
        return made * given.real.unsqueeze(-1).to(made.dtype)

    def misfits(self, wanted: Drawn, given: AskedParticles, noise: Drawn, time: Float[Tensor, "batch 1"]) -> PerRow:
        """Return the squared error of the velocity of each jet, the mean over its particles and their numbers."""
        errors = self.misfit(wanted, given, noise * given.real.unsqueeze(-1).to(noise.dtype), time)
        return mean_of_particles(errors, given.real)


def mean_of_particles(errors: Drawn, real: Real) -> PerRow:
    """Return the mean of what every number of every particle of a jet has, (batch,); 0 for a jet without any."""
    there = real.unsqueeze(-1).to(errors.dtype)
    return (errors * there).sum(dim=(1, 2)) / (errors.shape[2] * real.sum(dim=1).clamp(min=1))


class ParticleDecoder(nn.Module):
    """From latent numbers of a jet to a density of each particle: Gaussians of continuous numbers, shares of kinds.

    Given the latent numbers particles are independent of each other: what they have in common is in these.
    """

    def __init__(self, condition: int, width: int, depth: int, heads: int) -> None:
        super().__init__()
        self.network = SlotNetwork(0, condition, 2 * CONTINUOUS + len(PARTICLE_KINDS), width, depth, heads)

    def costs(self, numbers: Drawn, kind: Kind, given: AskedParticles) -> PerRow:
        """Return −ln p of the particles of each jet in nats; `kind` is their place in PARTICLE_KINDS."""
        mean, log_spread, logits = self._stated(given)
        return _cost(numbers, kind, given.real, mean, log_spread, logits.log_softmax(dim=-1))

    @staticmethod
    def costs_of_nothing(numbers: Drawn, kind: Kind, real: Real) -> PerRow:
        """Return the same of a normal density of every number, and kinds that are all as likely."""
        plain = torch.zeros_like(numbers[..., :CONTINUOUS])
        shares = numbers.new_full((*real.shape, len(PARTICLE_KINDS)), -math.log(len(PARTICLE_KINDS)))
        return _cost(numbers, kind, real, plain, plain, shares)

    def draw(self, given: AskedParticles, noise: Drawn, uniform: Float[Tensor, "batch particle kind"]) -> Drawn:
        """Return drawn numbers; of kinds by the largest of logits + Gumbel noise, which then are their codes."""
        mean, log_spread, logits = self._stated(given)
        gumbel = -(-uniform.clamp(min=1e-12).log()).clamp(min=1e-12).log()
        kind = (logits + gumbel).argmax(dim=-1)
        codes = drawn_codes(kind).to(mean)
        drawn = mean + log_spread.exp() * noise[..., :CONTINUOUS]
        return torch.cat([drawn, codes], dim=-1) * given.real.unsqueeze(-1).to(drawn.dtype)

    def _stated(self, given: AskedParticles) -> tuple[Tensor, Tensor, Tensor]:
        """Return means, logarithms of spreads, and logits of kinds."""
        nothing = given.condition.new_zeros(*given.real.shape, 0)
        mean, raw, logits = self.network(nothing, given).split([CONTINUOUS, CONTINUOUS, len(PARTICLE_KINDS)], dim=-1)
        return mean, (nn.functional.softplus(raw) + LEAST_SPREAD).log(), logits


def drawn_codes(kind: Kind) -> Tensor:
    """Return the codes of kinds, (batch, particle, CODE)."""
    return torch.tensor([code for *_, code in PARTICLE_KINDS], device=kind.device)[kind]


def _cost(numbers: Drawn, kind: Kind, real: Real, mean: Tensor, log_spread: Tensor, log_shares: Tensor) -> PerRow:
    """Return −ln p in nats of the particles of each jet; impact parameters count for charged ones alone."""
    wanted = numbers[..., :CONTINUOUS]
    density = ((wanted - mean) / log_spread.exp()).square() / 2 + log_spread + 0.5 * math.log(2 * math.pi)
    tracked = (numbers[..., CONTINUOUS : CONTINUOUS + 1] > 0).to(density.dtype)
    kept = torch.cat([torch.ones_like(wanted[..., :KINEMATIC]), tracked.expand(-1, -1, IMPACT)], dim=-1)
    each = (density * kept).sum(dim=-1) - log_shares.gather(-1, kind.unsqueeze(-1)).squeeze(-1)
    return (each * real).sum(dim=1)
