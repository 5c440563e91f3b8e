"""A line that the network measures on its way to the targets, and the fitted map from what was measured to them.

The axial sidebands stand at twice the axial frequency from the carrier, and carrier and axial frequency together fix
energy and pitch angle. The network is taught where the line stands, to a small fraction of a bin; a polynomial fitted
on the training split turns place and scalars into a first guess of the targets, and the head corrects the guess and
says how far it can be trusted. Which column a landmark follows is configuration: nothing here knows what it means.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn

from reconstruction.errors import UserError
from reconstruction.models import Encoded, Locator, PolynomialMap, location_loss
from reconstruction.models.encoders.joining import columns
from reconstruction.models.encoders.views import Correction, RecordView, View
from reconstruction.shapes import Features, PerRow, Targets

_HZ_PER_MHZ = 1e6


@dataclass(frozen=True)
class LandmarkOptions:
    """Which line is followed.

    Args:
        column: Column (Hz) of the training data that says where the line stands.
        multiple: The line stands at this multiple of the column's frequency on the view's axis.
        view: The view it is read off; its encoder needs attention pooling and stride 1.
        location_degree: Highest order in the line's place of the polynomial map to the targets.
        scalar_degrees: Highest orders in the views' scalars; one for each scalar.
        window: Positions on either side that are read to find the fraction.
        hidden_width: Width of the perceptron that finds it.
        weight: Weight of the loss that teaches the place.

    """

    column: str
    multiple: float = 1.0
    view: str = "spectrum"
    location_degree: int = 9
    scalar_degrees: tuple[int, ...] = (2, 2)
    window: int = 5
    hidden_width: int = 128
    weight: float = 0.3


class Measured(NamedTuple):
    """What a landmark gives for a batch."""

    position: PerRow
    """(batch,) in positions of the view."""
    log_attention: Tensor
    """(batch, position)"""
    features: Features
    """For the head."""
    anchor: Targets
    """First guess of the standardised targets."""
    first_hz: Tensor
    """() frequency of the view's first position, float64."""
    step_hz: Tensor
    """() frequency between positions, float64."""

    @property
    def place_mhz(self) -> Tensor:
        """(batch, 1) frequency of the line on the view's axis, float64."""
        return torch.addcmul(self.first_hz, self.position.double(), self.step_hz).unsqueeze(1) / _HZ_PER_MHZ


class Landmark(nn.Module):
    """Measure a line in a view and turn its place, with the scalars, into a first guess of the targets.

    Of a model that is told settings, these are further scalars behind those of the views, with orders of their own.
    """

    def __init__(
        self,
        options: LandmarkOptions,
        view: RecordView,
        encoder_width: int,
        scalars: int,
        targets: int,
        settings_degrees: tuple[int, ...] = (),
    ) -> None:
        super().__init__()
        if len(options.scalar_degrees) != scalars:
            raise UserError(
                f"model.landmark.scalar_degrees has {len(options.scalar_degrees)} entries, but the views make "
                f"{scalars} scalars: give one order for each"
            )
        self.options = options
        self.locator = Locator(
            view.channels,
            encoder_width,
            in_phase=view.in_phase,
            window=options.window,
            hidden_width=options.hidden_width,
        )
        degrees = (options.location_degree, *options.scalar_degrees, *settings_degrees)
        self.map = PolynomialMap(degrees, targets)
        self.feature_width = self.locator.feature_width + targets

    def forward(
        self, view: View, encoded: Encoded, scalars: Tensor, corrected: Callable[[PerRow], Correction] | None = None
    ) -> Measured:
        """Read the line off the view and make the first guess; `scalars` (batch, k) are standardised.

        corrected: what a line at a position says of the place itself and of the scalars, standardised as these are.
        """
        if encoded.log_attention is None or encoded.stride != 1:
            raise UserError(
                f"the encoder of view {self.options.view!r} needs attention pooling and stride 1 for a landmark"
            )
        reading = self.locator(view.series, encoded.log_attention, encoded.features, encoded.attention)
        first_hz, step_hz = _axis_hz(view, self.options.view)
        position = reading.position.double()
        if corrected is not None:
            correction = corrected(reading.position.detach())
            position, scalars = position + correction.position, scalars.double() + correction.scalars
        place_mhz = torch.addcmul(first_hz, position, step_hz) / _HZ_PER_MHZ
        coordinates = torch.cat((place_mhz.unsqueeze(1), scalars.double()), dim=1)
        anchor = self.map(coordinates).to(encoded.features.dtype)
        features = columns((reading.features, anchor.detach()))
        return Measured(reading.position, encoded.log_attention, features, anchor, first_hz, step_hz)

    def place_mhz(self, frequency_hz: Tensor) -> Tensor:
        """Return where the line stands, (rows, 1) in MHz on the view's axis; `frequency_hz` is the column (rows,)."""
        return self.options.multiple * frequency_hz.double().unsqueeze(1) / _HZ_PER_MHZ

    def fit(self, frequency_hz: Tensor, scalars: Tensor, targets: Tensor) -> None:
        """Fit the map on training rows: the column (rows,), standardised scalars and targets (rows, …)."""
        self.map.fit(torch.cat((self.place_mhz(frequency_hz), scalars.double()), dim=1), targets)

    def loss(self, measured: Measured, frequency_hz: PerRow) -> Tensor:
        """Return the weighted mean loss of the place; `frequency_hz` is the column (batch,)."""
        wanted = (self.options.multiple * frequency_hz.double() - measured.first_hz) / measured.step_hz
        wanted = wanted.to(measured.position.dtype)
        loss = location_loss(measured.log_attention, measured.position, wanted, self.options.window)
        return self.options.weight * loss.mean()


def _axis_hz(view: View, name: str) -> tuple[Tensor, Tensor]:
    if view.axis_hz is None or len(view.axis_hz) < 2:
        raise UserError(f"view {name!r} has no frequency axis that a landmark could be read off: use AlignedSpectrum")
    first_hz, second_hz = view.axis_hz[:2].unbind()
    return first_hz, second_hz - first_hz
