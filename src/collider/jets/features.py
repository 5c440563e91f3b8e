"""What a network is shown of each constituent, and in what order.

The features are those of JetClass's three sets (kin, kinpid, full) with log1p of pT and energy in place of their
logarithms. Before them stand the four-vectors, from which pairs are formed.
"""

from __future__ import annotations

from typing import Final, Literal

import torch
from torch import Tensor

from collider.jets.schema import IDENTITY, IMPACT, PARTICLE_COLUMNS
from reconstruction.errors import UserError
from reconstruction.shapes import Bool, Float, Series

FeatureSet = Literal["kin", "kinpid", "full"]

KINEMATIC: Final = ("log_pt", "log_energy", "log_pt_share", "log_energy_share", "distance", "deta", "dphi")
NAMES: Final[dict[str, tuple[str, ...]]] = {
    "kin": KINEMATIC,
    "kinpid": (*KINEMATIC, *IDENTITY),
    "full": (*KINEMATIC, *IDENTITY, *IMPACT),
}
"""log1p(pT/GeV), log1p(E/GeV), ln of their shares of the jet, ΔR, Δη and Δφ from its axis, then what the columns hold;
impact parameters as tanh(mm), their errors at most 1."""
STANDARDISED: Final = KINEMATIC[:-1]
"""Others stay as they are: Δφ is an angle, charge, type and the bounded impact parameters have their scale."""
SEED_VECTOR: Final = ("log_pt", "deta", "dphi", "log_energy")
"""The four numbers of a particle that are no four-vector, as some networks take for one."""
MOMENTA: Final = 4
_LEAST: Final = 1e-8

FourVectors = Float[Tensor, "batch particle 4"]
"""px, py, pz, E in GeV."""


def channels_of(features: FeatureSet) -> int:
    """Return the channels of a series: four-vector and features."""
    return MOMENTA + len(NAMES[features])


def features_in(channels: int) -> FeatureSet:
    """Return which features a series of so many channels holds. Raises UserError for no known number."""
    for name in NAMES:
        if channels_of(name) == channels:  # type: ignore[arg-type]
            return name  # type: ignore[return-value]
    raise UserError(
        f"a network of particles reads the channels of a ParticlesView ({', '.join(map(str, _KNOWN))}), not {channels}"
    )


_KNOWN: Final = [MOMENTA + len(names) for names in NAMES.values()]


def series_of(particles: Float[Tensor, "batch particle column"], features: FeatureSet) -> Series:
    """Return four-vectors and features (batch, particle, channel) of PARTICLE_COLUMNS, zero where nothing is."""
    momenta = particles[..., :MOMENTA]
    real = momenta[..., 3:] > 0
    pt, energy = transverse(momenta), momenta[..., 3]
    axis = momenta.sum(dim=1, keepdim=True)
    column = {name: particles[..., place] for place, name in enumerate(PARTICLE_COLUMNS)}
    deta, dphi = column["part_deta"], column["part_dphi"]
    found = [
        pt.log1p(),
        energy.log1p(),
        (pt / transverse(axis).clamp(min=_LEAST)).clamp(min=_LEAST).log(),
        (energy / axis[..., 3].clamp(min=_LEAST)).clamp(min=_LEAST).log(),
        (deta.square() + dphi.square()).sqrt(),
        deta,
        dphi,
    ]
    if features != "kin":
        found += [column[name] for name in IDENTITY]
    if features == "full":
        found += [column[name].clamp(max=1) if name.endswith("err") else column[name].tanh() for name in IMPACT]
    return torch.cat([momenta, torch.stack(found, dim=-1)], dim=-1) * real.to(particles.dtype)


def transverse(momenta: FourVectors) -> Tensor:
    """Return the transverse momentum, (batch, particle)."""
    return momenta[..., :2].square().sum(-1).sqrt()


def total(momenta: FourVectors) -> Float[Tensor, "batch 4"]:
    """Return the four-vector of the jet, float64."""
    return momenta.double().sum(dim=1)


def mass_of(four: Float[Tensor, "batch 4"]) -> Float[Tensor, "batch"]:
    """Return √(E² − p²) in GeV, 0 where rounding makes it imaginary."""
    return (four[:, 3].square() - four[:, :3].square().sum(dim=1)).clamp(min=0).sqrt()


def within(series: Series, real: Bool[Tensor, "batch particle"] | None) -> Series:
    """Return a series with zeros where no particle is."""
    return series if real is None else series.where(real.unsqueeze(-1), 0)
