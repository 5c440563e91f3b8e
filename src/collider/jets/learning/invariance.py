"""How much an encoder's features of a jet change when the jet is boosted or turned."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from collider.jets.features import MOMENTA, FourVectors
from collider.jets.schema import PARTICLE_COLUMNS
from reconstruction.models.encoders.base import Encoder
from reconstruction.models.encoders.views import RecordView
from reconstruction.shapes import Float, Lengths, Series

DETA, DPHI = PARTICLE_COLUMNS.index("part_deta"), PARTICLE_COLUMNS.index("part_dphi")


def boost(velocity: Float[Tensor, "3"]) -> Float[Tensor, "4 4"]:
    """Return the boost by a velocity (3,) in units of c, float64, of vectors (px, py, pz, E).

    p → p + n (γ − 1)(n·p) + γ β n E, E → γ (E + β n·p)
    """
    exact = velocity.double()
    beta2 = exact.dot(exact)
    gamma = (1 - beta2).rsqrt()
    matrix = torch.eye(4, dtype=torch.float64, device=velocity.device)
    share = (gamma - 1) / beta2 if float(beta2) > 0 else torch.zeros_like(beta2)
    matrix[:3, :3] += share * exact.outer(exact)
    matrix[:3, 3] = matrix[3, :3] = gamma * exact
    matrix[3, 3] = gamma
    return matrix


def transformed(particles: Series, matrix: Float[Tensor, "4 4"]) -> Series:
    """Return jets (batch, particle, PARTICLE_COLUMNS) whose four-vectors are transformed, Δη and Δφ anew.

    What is no momentum stays: charge, type and, as a simplification, impact parameters.
    """
    there = particles[..., 3] > 0
    momenta = (particles[..., :MOMENTA].double() @ matrix.T.to(particles.device)) * there.unsqueeze(-1)
    result = particles.clone()
    result[..., :MOMENTA] = momenta.to(particles.dtype)
    eta, phi = _direction(momenta)
    axis_eta, axis_phi = _direction(momenta.sum(dim=1, keepdim=True))
    side = torch.where(axis_eta > 0, 1.0, -1.0)
    dphi = torch.remainder(phi - axis_phi + math.pi, 2 * math.pi) - math.pi
    result[..., DETA] = torch.where(there, (eta - axis_eta) * side, 0.0).to(particles.dtype)
    result[..., DPHI] = torch.where(there, dphi, 0.0).to(particles.dtype)
    return result


@torch.no_grad()
def lorentz_violation(
    view: RecordView, encoder: Encoder, particles: Series, lengths: Lengths | None, matrix: Float[Tensor, "4 4"]
) -> float:
    """Return the rms change of an encoder's features under a Lorentz transformation, over their spread among jets.

    0 for an invariant encoder, √2 for one whose features of the transformed jet have nothing to do with the jet's.
    """
    before, after = (
        encoder(view(jets).series, lengths).double() for jets in (particles, transformed(particles, matrix))
    )
    spread = (before - before.mean(dim=0)).square().mean()
    return float(((after - before).square().mean() / spread).sqrt())


def _direction(momenta: FourVectors) -> tuple[Tensor, Tensor]:
    px, py, pz = momenta[..., 0], momenta[..., 1], momenta[..., 2]
    return torch.asinh(pz / (px.square() + py.square()).sqrt().clamp(min=1e-12)), torch.atan2(py, px)
