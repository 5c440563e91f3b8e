"""What momenta of particles obey: balance across the beam event by event, and energy in tracks and calorimeters.

Momentum is conserved in an event, and only across the beam; a batch of candidates of many events conserves nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor

from collider.detectors.learning.batches import EVENTS
from collider.detectors.learning.columns import CALORIMETER_SUM, KALMAN, MOMENTUM, MUON
from reconstruction.errors import UserError
from reconstruction.models import PredictiveDistribution
from reconstruction.records.batch import Batch
from reconstruction.shapes import Bool, Float, PerRow
from reconstruction.training.learning.laws import Law
from reconstruction.training.learning.observed import followed

SHARE_68: Final = 0.6827
_LEAST: Final = 1e-6
BINS: Final = 8
FEWEST: Final = 12
"""In a bin, below which a spread would be noise."""


@dataclass(frozen=True)
class LawOptions:
    """How much a law counts.

    Args:
        weight: Of its term beside the loss of the targets.

    """

    weight: float = 0.1

    def __post_init__(self) -> None:
        if not 0 < self.weight < float("inf"):
            raise UserError(
                f"the weight of a law is {self.weight:g}, but must be more than 0: leave model.momentum_balance or "
                "model.energy_conservation out for none"
            )


class MomentumBalance(Law):
    """Σ p_i d_i + unseen = 0 in each event, within σ² = Σ (σ_i d_i)² + (lost √(Σ pT))².

    The penalty is √(1 + x²) − 1 of the pull x = residual/σ. p_i and σ_i are mean and standard deviation of what is said
    of a candidate in direction d = (cos φ, sin φ)/cosh η, as reconstructed. Particles that are no candidate are lost:
    their sum, and what directions are wrong by, is a random walk, whose step is measured on true momenta of the
    training split. No gradient flows through σ: larger errors are no way to balance. Buffer: `lost`, in √GeV.
    """

    lost: Tensor

    def __init__(self, options: LawOptions, targets: tuple[str, ...]) -> None:
        super().__init__()
        self.place = _momentum_among(targets, "model.momentum_balance")
        self.weight = options.weight
        self.register_buffer("lost", torch.ones((), dtype=torch.float64))

    @torch.no_grad()
    def fit(self, batches: Callable[[], Iterable[Batch]]) -> None:
        """Measure what true momenta of candidates lack to balance."""
        steps = []
        for batch in batches():
            residual, across = self._summed(batch, batch["targets"][:, self.place])
            steps.append(residual / across.clamp(min=_LEAST).sqrt().unsqueeze(1))
        self.lost.copy_(torch.cat(steps).abs().quantile(SHARE_68))
        self.fitted = True

    def forward(self, said: PredictiveDistribution, batch: Batch) -> Tensor:
        """Return the weighted mean penalty of events and directions."""
        momentum = said.mean[:, self.place]
        residual, across = self._summed(batch, momentum)
        spread = said.std[:, self.place].detach().double()
        _, directions = _directions(batch)
        own = _per_event(batch, (spread.unsqueeze(1) * directions).square())
        expected = (own + self.lost.square() * across.detach().unsqueeze(1)).clamp(min=_LEAST).sqrt()
        return self.weight * robust(residual / expected).mean()

    def _summed(self, batch: Batch, momentum: PerRow) -> tuple[Float[Tensor, "event 2"], Float[Tensor, " event"]]:
        """Return what events lack to balance, in GeV, and the sums of pT of their candidates."""
        events, directions = _directions(batch)
        moved = momentum.double().unsqueeze(1) * directions
        return _per_event(batch, moved) + events["unseen_gev"], _per_event(batch, moved.norm(dim=1, keepdim=True))[:, 0]


def _directions(batch: Batch) -> tuple[dict[str, Tensor], Float[Tensor, "batch 2"]]:
    """Return what is known of a batch's events, and the share of each candidate's momentum along x and y."""
    if EVENTS not in batch:
        raise UserError(
            "model.momentum_balance sums momenta of an event, and batches do not hold whole events: give "
            "--data.whole_events=true, or leave it out"
        )
    events: dict[str, Tensor] = batch[EVENTS]
    phi, eta = events["phi_rad"].double(), events["eta"].double()
    return events, torch.stack([phi.cos(), phi.sin()], dim=1) / torch.cosh(eta).unsqueeze(1)


def _per_event(batch: Batch, values: Float[Tensor, "batch part"]) -> Float[Tensor, "event part"]:
    """Return sums over the candidates of each event."""
    events = batch[EVENTS]
    return values.new_zeros(len(events["unseen_gev"]), values.shape[1]).index_add(0, events["of"], values)


class EnergyConservation(Law):
    """What both calorimeters read of a track's particle is r(p) p within s(p) p; penalty √(1 + x²) − 1 of the pull x.

    r is the median of energy over momentum and s half of its central 68 %, in bins of the true momentum on the training
    split: hadrons are not read in full, and neighbours are read with them. Muons (with a segment) pass by.
    Buffers: `at` (ln p of the bins), `response`, `spread`.
    """

    at: Tensor
    response: Tensor
    spread: Tensor

    def __init__(self, options: LawOptions, targets: tuple[str, ...]) -> None:
        super().__init__()
        self.place = _momentum_among(targets, "model.energy_conservation")
        self.weight = options.weight
        for name in ("at", "response", "spread"):
            self.register_buffer(name, torch.zeros(BINS, dtype=torch.float64))

    @torch.no_grad()
    def fit(self, batches: Callable[[], Iterable[Batch]]) -> None:
        """Measure response and spread. Raises UserError where too few tracks have an energy."""
        parts = []
        for batch in batches():
            read, energy = self._read(batch)
            parts.append(torch.stack([batch["targets"][:, self.place].double(), energy])[:, read])
        momentum, energy = torch.cat(parts, dim=1)
        if len(momentum) < BINS * FEWEST:
            raise UserError(
                f"model.energy_conservation compares tracks with what calorimeters read, and the training has "
                f"{len(momentum)} of them: use more events, or leave it out"
            )
        order = momentum.argsort()
        ratio = energy[order] / momentum[order]
        for place, (own, logs) in enumerate(
            zip(ratio.tensor_split(BINS), momentum[order].log().tensor_split(BINS), strict=True)
        ):
            low, middle, high = own.quantile(own.new_tensor([0.5 - SHARE_68 / 2, 0.5, 0.5 + SHARE_68 / 2]))
            self.at[place], self.response[place] = logs.median(), middle
            self.spread[place] = (high - low).clamp(min=_LEAST) / 2
        self.fitted = True

    def forward(self, said: PredictiveDistribution, batch: Batch) -> Tensor:
        """Return the weighted mean penalty of tracks with an energy; 0 where there is none."""
        read, energy = self._read(batch)
        # of the others 1 GeV is compared with nothing: no shape that a host would have to wait for
        momentum = torch.where(read, said.mean[:, self.place].double(), 1.0)
        known = momentum.detach().clamp(min=_LEAST)
        response, spread = (interpolated(known.log(), self.at, curve) for curve in (self.response, self.spread))
        penalty = robust((energy - response * momentum) / (spread * known))
        return self.weight * torch.where(read, penalty, 0.0).sum() / read.sum().clamp(min=1)

    def _read(self, batch: Batch) -> tuple[Bool[Tensor, " batch"], PerRow]:
        """Return which rows are tracks of no muon that both calorimeters read, and how much in GeV, of others 0."""
        track, energy, segments = (
            followed(batch, name, "model.energy_conservation") for name in (KALMAN, CALORIMETER_SUM, f"{MUON}_tokens")
        )
        read = track.isfinite() & (energy > 0) & (segments == 0)
        return read, torch.where(read, energy.double(), 0.0)


def robust(pull: Tensor) -> Tensor:
    """Return √(1 + x²) − 1: x²/2 of a usual one, |x| of one far off."""
    return (1 + pull.square()).sqrt() - 1


def interpolated(value: Tensor, at: Float[Tensor, " knot"], curve: Float[Tensor, " knot"]) -> Tensor:
    """Return a curve through knots at rising places, straight between them and level beyond."""
    right = torch.searchsorted(at, value.contiguous()).clamp(1, len(at) - 1)
    low, high = at[right - 1], at[right]
    share = ((value - low) / (high - low).clamp(min=_LEAST)).clamp(0, 1)
    return curve[right - 1] + share * (curve[right] - curve[right - 1])


def _momentum_among(targets: tuple[str, ...], option: str) -> int:
    if MOMENTUM not in targets:
        raise UserError(
            f"{option} is of momenta, and data.targets are {', '.join(targets)}: add {MOMENTUM}, or leave it out"
        )
    return targets.index(MOMENTUM)
