"""What a network sees of a candidate: tokens of one detector, or of all of them; and what momenta are measured in."""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from torch import Tensor

from collider.detectors.learning.columns import (
    DETECTORS,
    ECAL,
    HCAL,
    LEAD_WIDTH,
    MUON,
    NEIGHBOUR_WIDTH,
    NEIGHBOURS,
    TOGETHER,
    TOKEN_WIDTH,
    TRACKER,
    WITH_ALL_LEADS,
)
from reconstruction.errors import UserError
from reconstruction.models.encoders.views import RecordView, View
from reconstruction.records.batch import Inputs
from reconstruction.shapes import Features, Float, Lengths, PerRow, Series, Targets
from reconstruction.training.network.yardstick import Yardstick

MeasuredIn = Literal["tracker", "ecal", "hcal", "muon", "excess", "best", "gev"]
LEAST_GEV = 0.3
"""What a detector measured to be less counts as this much."""
SHARES = (1e-3, 1.0)
"""An error of a track is no smaller and no larger a share of its momentum."""
DENSE = (TRACKER, ECAL, HCAL)
"""Detectors that see a good share of all candidates."""
IN_GEV = ("momentum_gev", "energy_gev", "pt_gev", "untracked_gev")


def lead_scalars(lead: Float[Tensor, "batch channel"]) -> Features:
    """Return a lead with the logarithm of its momentum or energy in place of it."""
    return torch.cat([lead[:, :1].clamp(min=LEAST_GEV).log(), lead[:, 1:]], dim=1)


def told_lengths(series: Series, leads: int) -> Lengths:
    """Return how many positions are real of an input that tells so itself: leads, and up to the last that is not 0."""
    there = (series != 0).any(dim=-1)
    place = torch.arange(1, series.shape[1] + 1, device=series.device)
    return (there * place).amax(dim=1).clamp(min=leads)


class LedView(RecordView):
    """A position for each of what follows the lead of an input, and the lead as scalars."""

    def __init__(self, channels: int, lead: int) -> None:
        super().__init__()
        self.channels, self.scalar_count = channels, lead

    def forward(self, series: Series) -> View:
        """Return the view."""
        return View(series[:, 1:, : self.channels], lead_scalars(series[:, 0, : self.scalar_count]))

    def lengths(self, lengths: Lengths, samples: int, positions: int) -> Lengths:
        """Return the number of positions: all but the lead."""
        return lengths - 1

    def lengths_told(self, series: Series) -> Lengths:
        """Return how many positions are real."""
        return told_lengths(series, 1)


class TokensView(LedView):
    """A position for each token of one detector, what classical reconstruction says in it as scalars."""

    detector: ClassVar[str]

    def __init__(self) -> None:
        super().__init__(TOKEN_WIDTH[self.detector], LEAD_WIDTH[self.detector])


class TrackerView(TokensView):
    """Hits of a track, and its five numbers as fitted."""

    reads = detector = TRACKER


class EcalView(TokensView):
    """Cells of ECAL clusters, and the shape of the largest."""

    reads = detector = ECAL


class HcalView(TokensView):
    """Cells of HCAL clusters, the shape of the largest, and the energy in both calorimeters."""

    reads = detector = HCAL


class MuonView(TokensView):
    """Segments in the muon stations, and what the first says of the momentum."""

    reads = detector = MUON


class AllLeadsView(RecordView):
    """A position for each token; the leads of DENSE as scalars, and which of these saw the candidate.

    One candidate in hundreds has a muon segment: standardised, its lead would be far beyond all others, and who reads
    it would know nothing of muons but this. Tokens tell of segments.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.channels = channels
        self.scalar_count = sum(LEAD_WIDTH[name] for name in DENSE) + len(DENSE)

    def forward(self, series: Series) -> View:
        """Return the view."""
        leads = [series[:, DETECTORS.index(name), : LEAD_WIDTH[name]] for name in DENSE]
        there = torch.stack([lead[:, 0] > 0 for lead in leads], dim=1).to(series.dtype)
        scalars = torch.cat([*map(lead_scalars, leads), there], dim=1)
        return View(series[:, len(DETECTORS) :, : self.channels], scalars)

    def lengths(self, lengths: Lengths, samples: int, positions: int) -> Lengths:
        """Return the number of tokens: all but the leads."""
        return lengths - len(DETECTORS)

    def lengths_told(self, series: Series) -> Lengths:
        """Return how many positions are real."""
        return told_lengths(series, len(DETECTORS))


class TogetherView(AllLeadsView):
    """Hits, cells and segments of all detectors, each with which detector it is of."""

    reads = TOGETHER

    def __init__(self) -> None:
        super().__init__(len(DETECTORS) + max(TOKEN_WIDTH.values()))


class NeighboursView(AllLeadsView):
    """Tracks and clusters about a candidate, its own among them: what a graph of particle flow reads."""

    reads = NEIGHBOURS

    def __init__(self) -> None:
        super().__init__(NEIGHBOUR_WIDTH)


class DetectorYardstick(Yardstick):
    """Measures momenta and energies in what one detector says, or, best, the track and without one the calorimeters.

    Learned is by how many usual errors it is wrong: of a track those of the Kalman filter, whose curvature is Gaussian;
    of clusters a/√E ⊕ b, and of segments a share. So a track of 1 % and a neutron of 40 % are of one size, and who has
    learned nothing is as good as classical reconstruction. Buffer: `usual`, a (√GeV) and b of ECAL, HCAL and muons.
    """

    tails_count = False
    usual: Tensor

    def __init__(self, targets: tuple[str, ...], detector: MeasuredIn) -> None:
        super().__init__()
        self.measured = [name in IN_GEV for name in targets]
        self.detector = detector
        self.register_buffer("usual", torch.tensor([[0.2, 0.05], [1.0, 0.1], [0.0, 0.3]], dtype=torch.float64))

    def forward(self, inputs: Inputs) -> Targets:
        """Return what was measured (batch, target) in GeV, 1 for other targets."""
        return self._of_targets(self._size_and_error(inputs)[0])

    def errors(self, inputs: Inputs) -> Targets:
        """Return the usual error over what was measured (batch, target), 1 for other targets."""
        return self._of_targets(self._size_and_error(inputs)[1])

    def _of_targets(self, values: Tensor) -> Targets:
        one = torch.ones_like(values)
        return torch.stack([values if measured else one for measured in self.measured], dim=1)

    def _size_and_error(self, inputs: Inputs) -> tuple[Tensor, Tensor]:
        if self.detector != "best":
            return self._of(self.detector, inputs)
        (track, filtered), (both, hadron), (ecal, light) = (self._of(name, inputs) for name in (TRACKER, HCAL, ECAL))
        behind = self._lead(inputs, HCAL)[:, 0] > 0
        there = self._lead(inputs, TRACKER)[:, 0] > 0
        size = torch.where(there, track, torch.maximum(both, ecal))
        return size, torch.where(there, filtered, torch.where(behind, hadron, light))

    def _of(self, name: str, inputs: Inputs) -> tuple[Tensor, Tensor]:
        """Return what a detector says of each candidate in GeV, and its usual error as a share of that."""
        lead = self._lead(inputs, name).double()
        size = lead[:, 0].clamp(min=LEAST_GEV)
        if name == TRACKER:
            return size, lead[:, 1].exp().clamp(*SHARES)
        stochastic, constant = self.usual[_USUAL.index(name)]
        return size, torch.sqrt(stochastic.square() / size + constant.square())

    def _lead(self, inputs: Inputs, name: str) -> Tensor:
        return lead_of(inputs, name, self.detector)


def lead_of(inputs: Inputs, name: str, measured_in: str) -> Tensor:
    """Return what classical reconstruction says in a detector, (batch, channel)."""
    if name in inputs:
        return inputs[name][:, 0]
    for whole in WITH_ALL_LEADS:
        if whole in inputs:
            return inputs[whole][:, DETECTORS.index(name)]
    raise UserError(
        f"model.measured_in is {measured_in}, which needs {name} or {TOGETHER} among data.inputs; there are "
        f"{', '.join(inputs)}"
    )


_USUAL = (ECAL, HCAL, MUON)


class ExcessYardstick(Yardstick):
    """Measures energies without a track in what the clusters hold beyond the track, and by how much that is wrong.

    Learned is (energy − start)/σ. `start` is the energy of the clusters beyond the momentum of the track, 0 where there
    is none, or all of it without a track: of narrow ECAL clusters with little behind them 1.02 E + 0.17 √E, of others
    1.12 E + 1.66 E^0.19 (GeV), which is near to the responses of single photons and pions. σ is 0.075 √E of the former,
    and of all else 0.92 √E ⊕ 0.03 E, E with the momentum of the track. Who has learned nothing is about as good as
    rules.
    """

    tails_count = False

    def forward(self, inputs: Inputs) -> Targets:
        """Return σ (batch, 1) in GeV."""
        return self.line(inputs)[0]

    def line(self, inputs: Inputs) -> tuple[Targets, Targets]:
        """Return σ and start (batch, 1) in GeV."""
        excess, sigma = excess_and_error(*(lead_of(inputs, name, "excess") for name in DENSE))
        return sigma.unsqueeze(1), excess.clamp(min=0).unsqueeze(1)


NARROW, LITTLE_BEHIND = 0.26, 0.2
"""Largest width of a photon's cluster, in the units of leads, and largest energy behind it over its own."""


def excess_and_error(track: Features, ecal: Features, hcal: Features) -> tuple[PerRow, PerRow]:
    """Return energy of clusters less the track's momentum, and its usual error, GeV, of leads (batch, channel)."""
    track, ecal, hcal = track.double(), ecal.double(), hcal.double()
    momentum, light, both = (lead[:, 0].clamp(min=0) for lead in (track, ecal, hcal))
    both = torch.maximum(light, both)
    width = torch.sqrt((ecal[:, 5].square() + ecal[:, 6].square()) / 2)
    narrow = (light > 0) & (width <= NARROW) & (torch.expm1(ecal[:, 2]) <= LITTLE_BEHIND * light)
    narrow &= both <= (1 + LITTLE_BEHIND) * light
    energy = torch.where(narrow, 1.02 * light + 0.17 * light.sqrt(), 1.12 * both + 1.66 * both.clamp(min=1e-6) ** 0.19)
    energy = torch.where(both > 0, energy, 0.0)
    wide = torch.sqrt(0.92**2 * (momentum + energy) + (0.03 * (momentum + energy)).square())
    sigma = torch.where(narrow & (momentum == 0), 0.075 * energy.sqrt(), wide)
    return energy - momentum, sigma.clamp(min=0.05)


class ExcessView(NeighboursView):
    """The same, and as scalars what clusters hold beyond the track: ln(σ/GeV), asinh of it over σ, and over GeV."""

    def __init__(self) -> None:
        super().__init__()
        self.scalar_count += 3

    def forward(self, series: Series) -> View:
        """Return the view."""
        view = super().forward(series)
        leads = (series[:, DETECTORS.index(name), : LEAD_WIDTH[name]] for name in DENSE)
        excess, sigma = excess_and_error(*leads)
        own = torch.stack([sigma.log(), torch.asinh(excess / sigma), torch.asinh(excess)], dim=1).to(series.dtype)
        return View(view.series, torch.cat([view.scalars, own], dim=1))
