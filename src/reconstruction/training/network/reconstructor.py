"""From named inputs to a predictive distribution in physical units: views, encoder, head, and the fitted scalers.

Everything that was fitted is a buffer, so that a checkpoint alone reconstructs rows. Targets are named columns;
nothing here knows what they mean.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from itertools import takewhile
from typing import Any, Literal, NamedTuple, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from reconstruction.errors import UserError, nearest
from reconstruction.models import (
    Calibration,
    Encoded,
    Encoder,
    FlowHead,
    Fusion,
    Head,
    PredictiveDistribution,
    S4DEncoder,
)
from reconstruction.models.conditioning.context import ConditionOptions, ToldContext
from reconstruction.models.encoders.joining import columns
from reconstruction.models.encoders.views import Correction, RecordView, View
from reconstruction.models.precision import in_precision
from reconstruction.models.predictive.flow import Flow
from reconstruction.models.scaling import Standardise
from reconstruction.records.batch import Batch, Inputs, Masks, lengths_from
from reconstruction.shapes import Features, Lengths, PerRow, Series, Targets
from reconstruction.training.network.condition import Condition
from reconstruction.training.network.denoise_first import DenoiseFirst, DenoiseFirstOptions
from reconstruction.training.network.facts import with_facts
from reconstruction.training.network.landmark import Landmark, LandmarkOptions, Measured
from reconstruction.training.network.sheet import Sheet, SheetOptions
from reconstruction.training.network.yardstick import Yardstick

SLACK = 1e-6
"""Standard deviations of a setting that rounding may take it out of its range."""


@runtime_checkable
class ViewFactory(Protocol):
    """Make a view for records of a sampling rate."""

    def __call__(self, sampling_rate_hz: float) -> RecordView:
        """Return the view."""
        ...


@runtime_checkable
class EncoderFactory(Protocol):
    """Make an encoder for a view's channels."""

    def __call__(self, in_channels: int) -> Encoder:
        """Return the encoder."""
        ...


@runtime_checkable
class HeadFactory(Protocol):
    """Make a head for the width of the features and the number of targets."""

    def __call__(self, in_width: int, targets: int) -> Head:
        """Return the head."""
        ...


class Outcome(NamedTuple):
    """What a forward pass gives: the distribution of the standardised targets, pooling weights, the landmark.

    denoised: the series that the encoder read, where a denoiser stands before it.
    """

    distribution: PredictiveDistribution
    encoded: dict[str, Encoded]
    measured: Measured | None
    denoised: Series | None = None


class Reconstructor(nn.Module):
    """Named inputs (batch, position, channel) → distribution of the named targets in their own units.

    Views of the noisy inputs go to their encoders, with how much of them is real; the views' scalars, standardised,
    join the features before the head. A model of one input also takes the bare tensor. Buffers: `target_scaler`,
    `scalar_scaler`, and `calibration` that makes the stated widths honest. With a `yardstick` the head speaks of
    standardised ratios (buffers of `ratio_scaler`); what it says is scaled to the targets before anyone sees it. With a
    `condition` it is told settings of the apparatus, the input SETTINGS; without that input they are not known. With a
    `sheet` a flow speaks of what targets differ by from what the others say of them.
    """

    def __init__(
        self,
        views: Mapping[str, RecordView],
        encoders: Mapping[str, Encoder],
        head: HeadFactory,
        targets: tuple[str, ...],
        fusion: Literal["gated", "concatenate"] = "gated",
        landmark: LandmarkOptions | None = None,
        yardstick: Yardstick | None = None,
        condition: ConditionOptions | None = None,
        sheet: Sequence[SheetOptions] | None = None,
        denoise_first: DenoiseFirstOptions | None = None,
    ) -> None:
        super().__init__()
        _check_names(views, encoders)
        _check_told(views, condition)
        if landmark is not None and yardstick is not None:
            raise UserError("a landmark guesses targets, a yardstick measures them in something else: give one of both")
        self.targets = targets
        self.views = nn.ModuleDict(views)
        self.front = None if denoise_first is None else _front(denoise_first, views)
        self.input_names = tuple(dict.fromkeys(view.reads for view in views.values()))
        self.fusion = Fusion(encoders, "concatenate" if len(encoders) == 1 else fusion)
        scalars = sum(view.scalar_count for view in views.values())
        features = self.fusion.output_width + scalars
        self.condition = None if condition is None else Condition(condition, encoders, features)
        degrees, told = ((), 0) if condition is None else (condition.map_degrees, condition.width)
        made = (views, encoders, scalars, len(targets), degrees)
        self.landmark = None if landmark is None else _landmark(landmark, *made)
        width = features + told
        width += self.landmark.feature_width if self.landmark else 0
        self.head: Head = head(in_width=width, targets=len(targets))
        self.sheet = None if sheet is None else _sheet(sheet, self.head, targets, scalars, self.landmark is not None)
        self.scalar_scaler = Standardise(scalars)
        self.target_scaler = Standardise(len(targets))
        self.yardstick = yardstick
        if yardstick is not None:
            self.ratio_scaler = Standardise(len(targets))
        self.calibration = Calibration(len(targets))

    def standardised(self, inputs: Inputs | Tensor, masks: Masks | None = None) -> Outcome:
        """Return the distribution of the standardised targets, before calibration, with the pooling weights."""
        inputs, masks = self.named(inputs), masks or {}
        told = None if self.condition is None else self.condition.context(self.condition.placed(inputs))
        return self._told(inputs, masks, told)

    def _told(self, inputs: Inputs, masks: Masks, told: ToldContext | None) -> Outcome:
        seen = {name: self.seen(name, inputs, masks) for name in self.views}
        views = {name: view for name, (view, _) in seen.items()}
        denoised = None
        if self.front is not None:
            denoised = self.front(views[self.front.view].series)
            views[self.front.view] = views[self.front.view]._replace(series=denoised)
        encoded = {
            name: _encode(encoder, views[name].series, seen[name][1], self.condition, told)
            for name, encoder in self.fusion.encoders.items()
        }
        scalars = self.standardised_scalars(columns([view.scalars for view in views.values()]))
        features = [self.fusion.fuse([part.features for part in encoded.values()]), scalars]
        if self.condition is not None and told is not None:
            features = self.condition.features(_joined(features), told)
        if self.landmark is None:
            said = self._along_sheet(self.head(_joined(features)), scalars)
            return Outcome(self._of_targets(said, inputs), encoded, None, denoised)
        name = self.landmark.options.view
        known = scalars if told is None else torch.cat((scalars.double(), told.coordinates), dim=1)
        shown = self.views[name]
        assert isinstance(shown, RecordView)
        corrected = partial(self._correction, name, views[name], known) if shown.corrects else None
        measured = self.landmark(views[name], encoded[name], known, corrected)
        anchor = measured.anchor if self.sheet is None else self.sheet.anchored(measured.anchor)
        said = self.head(_joined([*features, measured.features]), anchor)
        if self.sheet is not None:
            said = self._along_sheet(said, columns([measured.place_mhz, scalars.double()]))
        return Outcome(said, encoded, measured, denoised)

    def _correction(self, name: str, made: View, known: Tensor, position: PerRow) -> Correction:
        """Return what a line at a position of a view says of itself and of all scalars, standardised as they are."""
        shown = self.views[name]
        assert isinstance(shown, RecordView)
        correction = shown.correction(made, position)
        first = 0
        for other in takewhile(lambda one: one != name, self.views):
            view = self.views[other]
            assert isinstance(view, RecordView)
            first += view.scalar_count
        last = first + correction.scalars.shape[1]
        own = correction.scalars / self.scalar_scaler.scale[first:last]
        return Correction(correction.position, nn.functional.pad(own, (first, known.shape[1] - last)))

    def _along_sheet(self, distribution: PredictiveDistribution, known: Tensor) -> PredictiveDistribution:
        """Return what the head says of the coordinates of a sheet, as a distribution of the targets."""
        if self.sheet is None:
            return distribution
        assert isinstance(distribution, Flow)
        return distribution.sheared(self.sheet, known)

    def seen(self, name: str, inputs: Inputs, masks: Masks) -> tuple[View, Lengths | None]:
        """Return a view of the inputs, and how many of its positions hold something real; None where all do."""
        view = self.views[name]
        assert isinstance(view, RecordView)
        made: View = view(_read(view, inputs))
        if self.condition is not None and view.told_of:
            made = view.with_settings(made, self.condition.given(inputs, view.told_of))
        return made, _lengths(view, inputs, masks, made)

    def _of_targets(self, distribution: PredictiveDistribution, inputs: Inputs) -> PredictiveDistribution:
        """Return the distribution of the standardised targets of one of what the yardstick lets learn."""
        if self.yardstick is None:
            return distribution
        (slope, start), ratio, target = self.yardstick.line(inputs), self.ratio_scaler, self.target_scaler
        scale, shift = slope * ratio.scale / target.scale, (start + slope * ratio.shift - target.shift) / target.scale
        return distribution.affine(scale.to(distribution.dtype), shift.to(distribution.dtype))

    def with_denoiser(self, loss: Tensor, outcome: Outcome, noisy: Batch, clean: Batch, done: float) -> Tensor:
        """Return the loss of the targets together with that of the denoiser before the encoder, where there is one.

        done: share of the training that lies behind, which weighs them.
        """
        if self.front is None or outcome.denoised is None:
            return loss
        view = self.views[self.front.view]
        assert isinstance(view, RecordView)
        return self.front.together(loss, outcome.denoised, view, noisy["inputs"], clean["inputs"], done)

    def named(self, inputs: Inputs | Tensor) -> Inputs:
        """Return the inputs by name; a bare tensor is the one input that the views read."""
        return {self.input_names[0]: inputs} if isinstance(inputs, Tensor) else inputs

    def physical(self, distribution: PredictiveDistribution) -> PredictiveDistribution:
        """Return a distribution of standardised targets, calibrated, in physical units (float64)."""
        return self.calibration(self.uncalibrated(distribution))

    def uncalibrated(self, distribution: PredictiveDistribution) -> PredictiveDistribution:
        """Return a distribution of standardised targets in physical units (float64), as the network states it."""
        return distribution.affine(self.target_scaler.scale, self.target_scaler.shift)

    def forward(self, inputs: Inputs | Tensor, masks: Masks | None = None) -> PredictiveDistribution:
        """Return the calibrated distribution of the targets in their own units."""
        if self.condition is not None:
            return self._conditioned(self.condition, self.named(inputs), masks or {})
        return self.physical(self.standardised(inputs, masks).distribution)

    def _conditioned(self, condition: Condition, inputs: Inputs, masks: Masks) -> PredictiveDistribution:
        """Return the same of a model that is told settings, whose error bars grow outside of their range."""
        placed = condition.placed(inputs)
        said = self.physical(self._told(inputs, masks, condition.context(placed)).distribution)
        outside = (condition.context.outside(placed).abs() > SLACK).any(dim=1)
        # a program that is being compiled or exported cannot look whether there are any
        if not torch.compiler.is_compiling() and not bool(outside.any()):
            return said
        inside = condition.context(condition.context.mirrored(placed))
        return condition.widened(said, self.physical(self._told(inputs, masks, inside).distribution), outside)

    @torch.no_grad()
    def stream(self, pieces: Callable[[], Iterable[Series]]) -> PredictiveDistribution:
        """Return what `forward` returns, of records that arrive in pieces; each call of `pieces` begins them anew.

        For models that `cres.training.streaming.require_piecewise` lets pass.
        """
        if self.condition is not None:
            raise UserError("a model that is told settings reads whole records: their pieces come without any")
        if self.front is not None:
            raise UserError("a model with a denoiser before its encoder (model.denoise_first) reads whole records")
        features = []
        for name, encoder in self.fusion.encoders.items():
            assert isinstance(encoder, S4DEncoder)
            view = self.views[name]
            features.append(encoder.stream(view(piece).series for piece in pieces()))
        return self.physical(self.head(self.fusion.fuse(features)))

    def standardised_scalars(self, scalars: Features) -> Features:
        """Return the views' scalars (batch, k) standardised; there is nothing to fit or do for views without any."""
        return self.scalar_scaler(scalars) if scalars.shape[-1] else scalars

    @torch.no_grad()
    def scalars(self, inputs: Inputs | Tensor) -> Targets:
        """Return the views' scalars (batch, k) of noisy inputs, on which `scalar_scaler` is fitted."""
        inputs = self.named(inputs)
        return torch.cat([view(_read(view, inputs)).scalars for view in self.views.values()], dim=-1)


def _read(view: nn.Module, inputs: Inputs) -> Tensor:
    assert isinstance(view, RecordView)
    return inputs[view.reads]


def _lengths(view: nn.Module, inputs: Inputs, masks: Masks, made: View) -> Tensor | None:
    """Return how many positions of a view hold something real, (batch,), None where all do."""
    assert isinstance(view, RecordView)
    lengths = lengths_from(masks.get(view.reads))
    lengths = view.lengths_told(inputs[view.reads]) if lengths is None else lengths
    return None if lengths is None else view.lengths(lengths, inputs[view.reads].shape[1], made.series.shape[1])


def _encode(
    encoder: nn.Module, series: Series, lengths: Tensor | None, condition: Condition | None, told: ToldContext | None
) -> Encoded:
    assert isinstance(encoder, Encoder)
    if condition is None or told is None:
        return encoder.encode(series, lengths)
    return encoder.encode(condition.series(series, told), lengths, condition.encoded(told))


def build_reconstructor(
    facts: Mapping[str, Any],
    targets: tuple[str, ...],
    views: Mapping[str, Callable[..., RecordView]],
    encoders: Mapping[str, EncoderFactory],
    head: HeadFactory,
    fusion: Literal["gated", "concatenate"] = "gated",
    landmark: LandmarkOptions | None = None,
    yardstick: Yardstick | None = None,
    condition: ConditionOptions | None = None,
    sheet: Sequence[SheetOptions] | None = None,
    denoise_first: DenoiseFirstOptions | None = None,
) -> Reconstructor:
    """Make views with the facts that they ask for by name, encoders for their channels, and a head for the targets."""
    _check_names(views, encoders)
    made = {name: with_facts(view, facts) for name, view in views.items()}
    more = condition.width if condition is not None and condition.by == "concatenation" else 0
    read = {name: encoders[name](in_channels=view.channels + more) for name, view in made.items()}
    return Reconstructor(made, read, head, targets, fusion, landmark, yardstick, condition, sheet, denoise_first)


def _joined(parts: list[Tensor]) -> Tensor:
    """Concatenate features in the dtype of the first, leaving out those without columns."""
    return columns([in_precision(part, parts[0].dtype) for part in parts if part.shape[-1]])


def _front(options: DenoiseFirstOptions, views: Mapping[str, RecordView]) -> DenoiseFirst:
    if options.view not in views:
        raise UserError(
            f"model.denoise_first.view is {options.view!r}, but no view is called so{nearest(options.view, views)}"
        )
    return DenoiseFirst(options, views[options.view])


def _landmark(
    options: LandmarkOptions,
    views: Mapping[str, RecordView],
    encoders: Mapping[str, Encoder],
    scalars: int,
    targets: int,
    degrees: tuple[int, ...],
) -> Landmark:
    if options.view not in views:
        raise UserError(
            f"model.landmark.view is {options.view!r}, but no view is called so{nearest(options.view, views)}"
        )
    width = encoders[options.view].output_width
    return Landmark(options, views[options.view], width, scalars, targets, degrees)


def _sheet(
    options: Sequence[SheetOptions], head: Head, targets: tuple[str, ...], scalars: int, landmark: bool
) -> Sheet:
    if not isinstance(head, FlowHead):
        raise UserError(f"model.sheet is of a flow, and model.head is {type(head).__name__}: use a FlowHead")
    return Sheet(options, targets, scalars, landmark)


def _check_told(views: Mapping[str, RecordView], condition: ConditionOptions | None) -> None:
    settings = () if condition is None else condition.settings
    for name, view in views.items():
        for wanted in view.told_of:
            if wanted not in settings:
                raise UserError(
                    f"the view {name} is to show the setting {wanted}, of which model.condition.settings tells nothing"
                    f"{nearest(wanted, settings)}: add it there"
                )


def _check_names(views: Mapping[str, object], encoders: Mapping[str, object]) -> None:
    if not views:
        raise UserError("the model needs at least one view in model.views and an encoder of the same name")
    for name in encoders:
        if name not in views:
            raise UserError(f"model.encoders has {name!r}, but no view is called so{nearest(name, views)}")
    for name in views:
        if name not in encoders:
            raise UserError(f"model.views has {name!r}, but no encoder is called so{nearest(name, encoders)}")
