"""What a network sees of a candidate: tokens of one detector, or of all of them; and what momenta are measured in."""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from torch import Tensor

from collider.detectors.learning.columns import DETECTORS, ECAL, HCAL, LEAD_WIDTH, MUON, TOGETHER, TOKEN_WIDTH, TRACKER
from reconstruction.errors import UserError
from reconstruction.models.encoders.views import RecordView, View
from reconstruction.records.batch import Inputs
from reconstruction.shapes import Features, Float, Lengths, Series, Targets
from reconstruction.training.network.yardstick import Yardstick

MeasuredIn = Literal["tracker", "ecal", "hcal", "muon", "best", "gev"]
LEAST_GEV = 0.3
"""What a detector measured to be less counts as this much."""
IN_GEV = ("momentum_gev", "energy_gev", "pt_gev")


def lead_scalars(lead: Float[Tensor, "batch channel"]) -> Features:
    """Return a lead with the logarithm of its momentum or energy in place of it."""
    return torch.cat([lead[:, :1].clamp(min=LEAST_GEV).log(), lead[:, 1:]], dim=1)


class TokensView(RecordView):
    """A position for each token of one detector, what classical reconstruction says in it as scalars."""

    detector: ClassVar[str]

    def __init__(self) -> None:
        super().__init__()
        self.channels = TOKEN_WIDTH[self.detector]
        self.scalar_count = LEAD_WIDTH[self.detector]

    def forward(self, series: Series) -> View:
        """Return the view."""
        return View(series[:, 1:, : self.channels], lead_scalars(series[:, 0, : self.scalar_count]))

    def lengths(self, lengths: Lengths, samples: int, positions: int) -> Lengths:
        """Return the number of tokens: all but the lead."""
        return lengths - 1


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


class TogetherView(RecordView):
    """A position for each token of any detector, with which it is of; all leads as scalars, and which there are."""

    reads = TOGETHER

    def __init__(self) -> None:
        super().__init__()
        self.channels = len(DETECTORS) + max(TOKEN_WIDTH.values())
        self.scalar_count = sum(LEAD_WIDTH.values()) + len(DETECTORS)

    def forward(self, series: Series) -> View:
        """Return the view."""
        leads = [lead_scalars(series[:, place, : LEAD_WIDTH[name]]) for place, name in enumerate(DETECTORS)]
        there = (series[:, : len(DETECTORS), 0] > 0).to(series.dtype)
        return View(series[:, len(DETECTORS) :, : self.channels], torch.cat([*leads, there], dim=1))

    def lengths(self, lengths: Lengths, samples: int, positions: int) -> Lengths:
        """Return the number of tokens: all but the leads."""
        return lengths - len(DETECTORS)


class DetectorYardstick(Yardstick):
    """Measures momenta and energies in what one detector says, or, best, the track and without one the calorimeters.

    The ratio is 1 up to the detector's error at 1 GeV as at 100 GeV, and of a track it is Gaussian: its curvature is.
    """

    def __init__(self, targets: tuple[str, ...], detector: MeasuredIn) -> None:
        super().__init__()
        self.measured = [name in IN_GEV for name in targets]
        self.detector = detector

    def forward(self, inputs: Inputs) -> Targets:
        """Return what was measured (batch, target) in GeV, 1 for other targets."""
        size = self._size(inputs).double().clamp(min=LEAST_GEV).unsqueeze(1)
        return torch.cat([size if measured else torch.ones_like(size) for measured in self.measured], dim=1)

    def _size(self, inputs: Inputs) -> Tensor:
        if self.detector != "best":
            return self._lead(inputs, self.detector)
        track, both, ecal = (self._lead(inputs, name) for name in (TRACKER, HCAL, ECAL))
        return torch.where(track > 0, track, torch.maximum(both, ecal))

    def _lead(self, inputs: Inputs, name: str) -> Tensor:
        if name in inputs:
            return inputs[name][:, 0, 0]
        if TOGETHER in inputs:
            return inputs[TOGETHER][:, DETECTORS.index(name), 0]
        raise UserError(
            f"model.measured_in is {self.detector}, which needs {name} or {TOGETHER} among data.inputs; there are "
            f"{', '.join(inputs)}"
        )
