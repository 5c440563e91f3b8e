"""What both heads that draw particles share: the encoder that they are on, and jets as arrays of particles."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from collider.jets.features import MOMENTA, mass_of, total, transverse
from collider.jets.learning.data import PARTICLES
from collider.jets.learning.views import ParticlesView
from collider.jets.networks.numbers import Particles, Real
from collider.jets.networks.particles import ParticleEncoder
from reconstruction.errors import UserError, nearest
from reconstruction.models.encoders.positions import valid_positions
from reconstruction.records.batch import Batch, lengths_from, masks_of
from reconstruction.shapes import Lengths, PerRow
from reconstruction.training.network.reconstructor import Reconstructor

LEAST_GEV = 1e-3


class DrawnJets(NamedTuple):
    """Jets as a file has them: particles (jet, particle, PARTICLE_COLUMNS), the hardest first, and their numbers."""

    particles: Particles
    lengths: Lengths


class Read(NamedTuple):
    """Jets of a batch, and where their particles are."""

    particles: Particles
    real: Real

    @property
    def lengths(self) -> Lengths:
        """How many particles each has."""
        return self.real.sum(dim=1)


def read_jets(batch: Batch) -> Read:
    """Return the jets of a batch."""
    particles: Tensor = batch["inputs"][PARTICLES]
    lengths = lengths_from(masks_of(batch).get(PARTICLES))
    real = particles[..., MOMENTA - 1] > 0
    return Read(particles, real if lengths is None else real & valid_positions(lengths, particles.shape[1]))


def particle_encoder(option: str, view: str, reconstructor: Reconstructor) -> tuple[ParticleEncoder, ParticlesView]:
    """Return encoder and view of this name. Raises UserError where there is none, or none of particles."""
    if view not in reconstructor.views:
        raise UserError(f"{option}.view is {view!r}, but no view is called so{nearest(view, reconstructor.views)}")
    encoder, seen = reconstructor.fusion.encoders[view], reconstructor.views[view]
    if not isinstance(encoder, ParticleEncoder):
        raise UserError(
            f"{option} draws particles on an encoder of particles, and {view!r} is a {type(encoder).__name__}: use one "
            "of collider.jets.networks"
        )
    assert isinstance(seen, ParticlesView)
    return encoder, seen


def momentum_and_mass(particles: Particles) -> tuple[PerRow, PerRow]:
    """Return pT and mass in GeV of the sum of all particles, float64, not quite zero."""
    four = total(particles[..., :MOMENTA])
    return transverse(four.unsqueeze(1)).squeeze(1).clamp(min=LEAST_GEV), mass_of(four).clamp(min=LEAST_GEV)


def hardest_first(particles: Particles, real: Real) -> DrawnJets:
    """Return the same jets with their particles in the order of pT, and zeros behind the last one."""
    pt = transverse(particles[..., :MOMENTA]).masked_fill(~real, -1.0)
    order = pt.argsort(dim=1, descending=True, stable=True)
    ordered = torch.gather(particles, 1, order.unsqueeze(-1).expand_as(particles))
    lengths = real.sum(dim=1)
    there = valid_positions(lengths, particles.shape[1])
    return DrawnJets(ordered * there.unsqueeze(-1).to(ordered.dtype), lengths)
