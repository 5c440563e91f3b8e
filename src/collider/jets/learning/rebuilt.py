"""Rebuilt particles in GeV, their jets, and what ties their numbers: m² = E² − |p|² of each particle and of the jet.

Of a particle's four numbers (pT, η, φ, E) one follows from the others but for its mass, which is next to nothing: a
network that rebuilds each of them for itself may break that. A mass that is regressed is one number, and ties nothing.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from collider.jets.features import MOMENTA, transverse
from collider.jets.networks.scales import ParticleScales
from reconstruction.shapes import Bool, Float, Series

LEAST_GEV = 1e-3
MOST_LOG = 12.0
"""A rebuilt logarithm is cut here, at 160 TeV: an untrained network may say anything."""


class RebuiltJets(NamedTuple):
    """Hidden particles one after the other, as they are rebuilt and as they are, and the jets that they are of."""

    made: Float[Tensor, "particle 4"]
    """pT (GeV), η, φ, E (GeV)."""
    true: Float[Tensor, "particle 4"]
    row: Tensor
    """Of the jet, (particle,)."""
    whole: Float[Tensor, "batch 4"]
    """px, py, pz, E of the true jets as far as they are read, GeV."""

    @property
    def jets(self) -> Float[Tensor, "batch 4"]:
        """Four-vectors of the jets with rebuilt particles in the place of the hidden ones."""
        change = four_vectors(self.made) - four_vectors(self.true)
        return self.whole + torch.zeros_like(self.whole).index_add(0, self.row, change.to(self.whole.dtype))


def rebuilt_jets(
    made: Float[Tensor, "particle 4"],
    true: Float[Tensor, "particle 4"],
    hidden: Bool[Tensor, "batch particle"],
    series: Series,
    scales: ParticleScales,
    places: list[int],
) -> RebuiltJets:
    """Return hidden particles in GeV.

    made, true: log1p pT, Δη, Δφ, log1p E in the scales of the features at `places`; series: that of the view, whose Δη
    has the sign that it would have on the side η > 0.
    """
    fitted = scales.features
    shift, scale = (values[places].to(made.dtype) for values in (fitted.shift, fitted.scale))
    own, other = (values * scale + shift for values in (made, true))
    momenta = series[..., :MOMENTA]
    whole = momenta.sum(dim=1)
    side = torch.where(whole[:, 2] > 0, 1.0, -1.0)
    row = hidden.nonzero()[:, 0]
    particle = momenta[hidden]
    pt = transverse(particle)
    eta, phi = torch.asinh(particle[:, 2] / pt.clamp(min=LEAST_GEV)), torch.atan2(particle[:, 1], particle[:, 0])
    log_pt, deta, dphi, log_energy = (own - other).unbind(dim=1)
    return RebuiltJets(
        torch.stack(
            [
                (other[:, 0] + log_pt).clamp(0, MOST_LOG).expm1(),
                eta + side[row] * deta,
                phi + dphi,
                (other[:, 3] + log_energy).clamp(0, MOST_LOG).expm1(),
            ],
            dim=1,
        ),
        torch.stack([pt, eta, phi, particle[:, 3]], dim=1),
        row,
        whole,
    )


def four_vectors(particles: Float[Tensor, "particle 4"]) -> Float[Tensor, "particle 4"]:
    """Return px, py, pz, E of pT, η, φ, E."""
    pt, eta, phi, energy = particles.unbind(dim=1)
    return torch.stack([pt * phi.cos(), pt * phi.sin(), pt * eta.sinh(), energy], dim=1)


def off_shell(particles: Float[Tensor, "particle 4"]) -> Float[Tensor, "particle"]:
    """Return ln(E/|p|) of pT, η, φ, E: 0 for a particle without mass, m²/2p² for a light one."""
    pt, eta, _, energy = particles.unbind(dim=1)
    return energy.clamp(min=LEAST_GEV).log() - (pt * eta.cosh()).clamp(min=LEAST_GEV).log()


def mass_shell_loss(found: RebuiltJets) -> Tensor:
    """Return the mean distance of ln(E/|p|) from that of the true particle: m² = E² − |p|², particle by particle."""
    return (off_shell(found.made) - off_shell(found.true)).abs().mean()


def jet_mass_loss(found: RebuiltJets) -> Tensor:
    """Return the mean distance of ± ln(1 + |m²|/GeV²), with the sign of m² = E² − |p|² of the whole jet.

    Of jets of which something is hidden.
    """
    with_hidden = found.row.unique()
    made, true = (_signed_log(_mass2(jets[with_hidden])) for jets in (found.jets, found.whole))
    return (made - true).abs().mean()


def _mass2(four: Tensor) -> Tensor:
    return four[:, 3].square() - four[:, :3].square().sum(dim=1)


def _signed_log(values: Tensor) -> Tensor:
    return values.sign() * values.abs().log1p()
