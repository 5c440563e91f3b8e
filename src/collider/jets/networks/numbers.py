"""The numbers of a particle that networks draw, and the particle of these numbers."""

from __future__ import annotations

from typing import Final, NamedTuple

import torch
from torch import Tensor

from collider.jets.features import MOMENTA, transverse
from collider.jets.schema import PARTICLE_COLUMNS
from reconstruction.exact_buffers import ExactBuffers
from reconstruction.models.scaling import Standardise
from reconstruction.shapes import Bool, Float, PerRow

PARTICLE_KINDS: Final = (
    ("part_isChargedHadron", 1, 0.13957, (1, 1, 0, -1, -1)),
    ("part_isChargedHadron", -1, 0.13957, (1, -1, 0, -1, -1)),
    ("part_isNeutralHadron", 0, 0.0, (-1, 0, -1, -1, -1)),
    ("part_isPhoton", 0, 0.0, (-1, 0, 1, -1, -1)),
    ("part_isElectron", -1, 0.000511, (1, -1, 0, 1, -1)),
    ("part_isElectron", 1, 0.000511, (1, 1, 0, 1, -1)),
    ("part_isMuon", -1, 0.10566, (1, -1, 0, -1, 1)),
    ("part_isMuon", 1, 0.10566, (1, 1, 0, -1, 1)),
)
"""Column, charge, mass in GeV and code: of charged hadrons the pion's mass, of what cells see none.

Masses: PDG 2024, summary tables. A code says whether a particle is charged, positive, a photon, an electron and a muon,
1 for yes, −1 for no, 0 where that is no question; a drawn particle is of the kind whose code is nearest. So a rare kind
is drawn where its own number says so, and not wherever all others are unsure.
"""
CODE: Final = 5
KINEMATIC: Final = 3
"""ln of pT over a reference, Δη, Δφ."""
IMPACT: Final = 4
"""asinh(d0/σ), ln σ(d0)/mm, asinh(dz/σ), ln σ(dz)/mm, of charged particles."""
CONTINUOUS: Final = KINEMATIC + IMPACT
NUMBERS: Final = CONTINUOUS + CODE
"""Kinds as numbers beside momenta and impact parameters: Birk et al. 2023, arXiv:2312.00123, who give each a number."""
_COLUMN: Final = {name: place for place, name in enumerate(PARTICLE_COLUMNS)}
_TRACKS: Final = (("part_d0val", "part_d0err"), ("part_dzval", "part_dzerr"))
_LEAST: Final = 1e-6

Particles = Float[Tensor, "batch particle column"]
"""PARTICLE_COLUMNS, as in a file."""
Drawn = Float[Tensor, "batch particle number"]
Real = Bool[Tensor, "batch particle"]


class Frame(NamedTuple):
    """What particles are measured in, (batch,) each: the reference of pT in GeV, and where the axis of the jet is."""

    reference_gev: PerRow
    axis_eta: PerRow
    axis_phi_rad: PerRow


class ParticleNumbers(ExactBuffers):
    """Particles ↔ numbers that a network draws, (batch, particle, NUMBERS), zeros where no particle is.

    Continuous ones are standardised on the training split, impact parameters on its charged particles; drawn ones stay
    within the range that they had there, `low` to `high`.
    """

    low: Tensor
    high: Tensor
    charged: Tensor
    codes: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.kinematic, self.impact = Standardise(KINEMATIC), Standardise(IMPACT)
        self.register_buffer("low", torch.zeros(CONTINUOUS, dtype=torch.float64))
        self.register_buffer("high", torch.zeros(CONTINUOUS, dtype=torch.float64))
        self.register_buffer(
            "charged", torch.tensor([charge != 0 for _, charge, _, _ in PARTICLE_KINDS]), persistent=False
        )
        codes = torch.tensor([code for *_, code in PARTICLE_KINDS], dtype=torch.float64)
        self.register_buffer("codes", codes, persistent=False)

    @property
    def fitted(self) -> bool:
        """Whether the scales are known."""
        return self.kinematic.fitted

    @torch.no_grad()
    def fit(self, particles: Particles, real: Real, reference_gev: PerRow) -> None:
        """Fit on jets of the training split."""
        values, kind = self._continuous(particles, reference_gev), kinds_of(particles)
        kinematic, impact = values[real][:, :KINEMATIC], values[real & self.charged[kind]][:, KINEMATIC:]
        self.kinematic.fit(kinematic)
        if len(impact):
            self.impact.fit(impact)
        else:
            self.impact.leave()
        both = (kinematic, impact if len(impact) else kinematic.new_zeros(1, IMPACT))
        self.low.copy_(torch.cat([part.amin(dim=0) for part in both]))
        self.high.copy_(torch.cat([part.amax(dim=0) for part in both]))

    def forward(self, particles: Particles, real: Real, reference_gev: PerRow) -> Drawn:
        """Return the numbers of particles, in the dtype of these."""
        kind = kinds_of(particles)
        values = self._continuous(particles, reference_gev)
        kinematic = self._scaled(self.kinematic, values[..., :KINEMATIC])
        impact = self._scaled(self.impact, values[..., KINEMATIC:]) * self.charged[kind].unsqueeze(-1)
        return torch.cat([kinematic, impact, self.codes[kind]], dim=-1).where(real.unsqueeze(-1), 0).to(particles.dtype)

    def particles(self, numbers: Drawn, real: Real, frame: Frame) -> Particles:
        """Return particles of drawn numbers, in the dtype of these; in the order in which they were drawn."""
        exact = numbers.to(torch.float64)
        scaled = torch.cat(
            [
                self._unscaled(self.kinematic, exact[..., :KINEMATIC]),
                self._unscaled(self.impact, exact[..., KINEMATIC:CONTINUOUS]),
            ],
            dim=-1,
        )
        values = torch.minimum(torch.maximum(scaled, self.low), self.high)
        kind = self.kinds(exact)
        column = self._momenta(values, kind, frame) | self._identities(kind)
        displaced, d0_error, along, dz_error = values[..., KINEMATIC:].unbind(-1)
        tracked = self.charged[kind]
        for (value, error), asinh, log in zip(_TRACKS, (displaced, along), (d0_error, dz_error), strict=True):
            column[error] = log.exp() * tracked
            column[value] = asinh.sinh() * column[error]
        made = torch.stack([column[name] for name in PARTICLE_COLUMNS], dim=-1)
        return made.where(real.unsqueeze(-1), 0).to(numbers.dtype)

    def moved(self, numbers: Drawn, centre: Float[Tensor, "batch 2"], factor: PerRow) -> Drawn:
        """Return the numbers of particles whose Δη and Δφ are measured from `centre`, times a factor, float64."""
        shift, scale = self.kinematic.shift[1:], self.kinematic.scale[1:]
        low, high = self.low[1:KINEMATIC], self.high[1:KINEMATIC]
        exact = numbers.to(torch.float64)
        angles = (exact[..., 1:KINEMATIC] * scale + shift).clamp(low, high)  # as they would be drawn
        angles = (angles - centre.unsqueeze(1)) * factor.view(-1, 1, 1)
        return torch.cat([exact[..., :1], (angles - shift) / scale, exact[..., KINEMATIC:]], dim=-1)

    def kinds(self, numbers: Drawn) -> Tensor:
        """Return the place of each drawn particle in PARTICLE_KINDS, (batch, particle)."""
        away = numbers[..., CONTINUOUS:].to(torch.float64).unsqueeze(-2) - self.codes
        return away.square().sum(dim=-1).argmin(dim=-1)

    def _momenta(self, values: Tensor, kind: Tensor, frame: Frame) -> dict[str, Tensor]:
        reference, axis_eta, axis_phi = (part.to(torch.float64).unsqueeze(1) for part in frame)
        log_pt, deta, dphi = values[..., :KINEMATIC].unbind(-1)
        side = torch.where(axis_eta > 0, 1.0, -1.0)
        pt, eta, phi = reference * log_pt.exp(), axis_eta + side * deta, axis_phi + dphi
        mass = values.new_tensor([mass for _, _, mass, _ in PARTICLE_KINDS])[kind]
        px, py, pz = pt * phi.cos(), pt * phi.sin(), pt * eta.sinh()
        energy = (px.square() + py.square() + pz.square() + mass.square()).sqrt()
        turn = torch.remainder(dphi + torch.pi, 2 * torch.pi) - torch.pi
        return {
            "part_px": px, "part_py": py, "part_pz": pz, "part_energy": energy, "part_deta": deta, "part_dphi": turn
        }  # fmt: skip

    @staticmethod
    def _identities(kind: Tensor) -> dict[str, Tensor]:
        found = {"part_charge": torch.zeros_like(kind, dtype=torch.float64)}
        for place, (name, charge, _, _) in enumerate(PARTICLE_KINDS):
            found[name] = found.get(name, 0.0) + (kind == place).double()
            found["part_charge"] = found["part_charge"] + charge * (kind == place)
        return found

    @staticmethod
    def _continuous(particles: Particles, reference_gev: PerRow) -> Tensor:
        exact = particles.to(torch.float64)
        share = transverse(exact[..., :MOMENTA]) / reference_gev.to(torch.float64).clamp(min=_LEAST).unsqueeze(1)
        values = [share.clamp(min=_LEAST).log(), exact[..., _COLUMN["part_deta"]], exact[..., _COLUMN["part_dphi"]]]
        for value, error in _TRACKS:
            width = exact[..., _COLUMN[error]].clamp(min=_LEAST)
            values += [(exact[..., _COLUMN[value]] / width).asinh(), width.log()]
        return torch.stack(values, dim=-1)

    @staticmethod
    def _scaled(scale: Standardise, values: Tensor) -> Tensor:
        return scale(values.flatten(0, 1)).view_as(values)

    @staticmethod
    def _unscaled(scale: Standardise, values: Tensor) -> Tensor:
        return scale.inverse(values.flatten(0, 1)).view_as(values)


def kinds_of(particles: Particles) -> Tensor:
    """Return the place of each particle in PARTICLE_KINDS, (batch, particle): by its flag, or else by its charge."""
    charge = particles[..., _COLUMN["part_charge"]]
    kind = torch.where(charge > 0, 0, torch.where(charge < 0, 1, 2))
    for place, (name, of, _, _) in enumerate(PARTICLE_KINDS):
        flagged = particles[..., _COLUMN[name]] > 0
        kind = torch.where(flagged & (charge.sign() == of), place, kind)
    return kind


def centre_of(particles: Particles) -> Float[Tensor, "batch 2"]:
    """Return mean Δη and Δφ of particles, weighed by pT, float64: of all particles of a jet about zero."""
    exact = particles.to(torch.float64)
    weight = transverse(exact[..., :MOMENTA]).unsqueeze(-1)
    angles = exact[..., [_COLUMN["part_deta"], _COLUMN["part_dphi"]]]
    return (angles * weight).sum(dim=1) / weight.sum(dim=1).clamp(min=_LEAST)


def axis_of(particles: Particles, real: Real) -> tuple[PerRow, PerRow]:
    """Return η and φ of the axis from which Δη and Δφ of particles are measured, weighed by pT, float64.

    On which side of the detector a jet is decides the sign of Δη: the side on which all particles agree is taken.
    """
    exact = particles.to(torch.float64)
    pt = transverse(exact[..., :MOMENTA])
    eta = torch.asinh(exact[..., 2] / pt.clamp(min=_LEAST))
    phi = torch.atan2(exact[..., 1], exact[..., 0])
    weight = pt * real
    weight = weight / weight.sum(dim=1, keepdim=True).clamp(min=_LEAST)
    deta, dphi = exact[..., _COLUMN["part_deta"]], exact[..., _COLUMN["part_dphi"]]
    sides = torch.stack([eta - deta, eta + deta], dim=0)
    middle = (sides * weight).sum(dim=-1)
    scatter = ((sides - middle.unsqueeze(-1)).square() * weight).sum(dim=-1)
    towards = torch.where((middle[0] > 0) == (middle[1] > 0), middle[0] > 0, scatter[0] <= scatter[1])
    turn = phi - dphi
    axis_phi = torch.atan2((turn.sin() * weight).sum(dim=1), (turn.cos() * weight).sum(dim=1))
    return torch.where(towards, middle[0], middle[1]), axis_phi
