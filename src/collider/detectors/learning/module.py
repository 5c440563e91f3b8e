"""The module of candidates: views of detectors, an encoder for each, and momenta in units of what was measured."""

from __future__ import annotations

from typing import Any, Literal, Protocol, runtime_checkable

from collider.detectors.learning.columns import UNTRACKED
from collider.detectors.learning.conservation import EnergyConservation, LawOptions, MomentumBalance
from collider.detectors.learning.views import IN_GEV, DetectorYardstick, ExcessYardstick, MeasuredIn
from reconstruction.errors import UserError
from reconstruction.models.conditioning.context import ConditionOptions
from reconstruction.models.encoders.views import RecordView
from reconstruction.training.learning.learner import Learner
from reconstruction.training.network.corruption import Corruption
from reconstruction.training.network.reconstructor import EncoderFactory, HeadFactory, build_reconstructor
from reconstruction.training.network.yardstick import Yardstick


@runtime_checkable
class DetectorViewFactory(Protocol):
    """Make a view of one detector, or of all."""

    def __call__(self) -> RecordView:
        """Return the view."""
        ...


class DetectorModule(Learner):
    """Learns candidates.

    Args:
        targets: What is estimated; linked from the data.
        views: What is shown of the detectors, by name: TrackerView, EcalView, HcalView, MuonView; TogetherView.
        encoders: An encoder for each view, under the same name.
        head: GaussianHead, MixtureHead, QuantileHead or PointHead for momenta; CategoricalHead for identity or charge.
        measured_in: What momenta and energies are learned in: what tracker, ecal, hcal (both calorimeters) or muon says
            of the candidate; best, the track and without one the calorimeters; excess, what clusters hold
            beyond the track, for untracked_gev; or gev.
        fusion: How features of several views are joined.
        condition: Columns that the model is told with each candidate.
        momentum_balance: Let momenta of an event's candidates balance across the beam with what nobody saw, beside the
            loss of the targets; needs data.whole_events.
        energy_conservation: Let momenta of tracks agree with what calorimeters read of them, beside that loss.

    """

    system_name = "collider.detectors"

    def __init__(
        self,
        targets: tuple[str, ...],
        views: dict[str, DetectorViewFactory],
        encoders: dict[str, EncoderFactory],
        head: HeadFactory,
        measured_in: MeasuredIn = "best",
        fusion: Literal["gated", "concatenate"] = "gated",
        condition: ConditionOptions | None = None,
        momentum_balance: LawOptions | None = None,
        energy_conservation: LawOptions | None = None,
        **training: Any,
    ) -> None:
        measured = measured_in != "gev" and any(name in IN_GEV for name in targets)
        if (UNTRACKED in targets) != (measured_in == "excess"):
            raise UserError(
                f"model.measured_in is {measured_in} and the targets {', '.join(targets)}: {UNTRACKED}, and nothing "
                "else, is measured in excess"
            )
        yardstick: Yardstick | None = None
        if measured:
            yardstick = ExcessYardstick() if UNTRACKED in targets else DetectorYardstick(targets, measured_in)
        super().__init__(
            build_reconstructor({}, targets, views, encoders, head, fusion, yardstick=yardstick, condition=condition),
            Corruption(),
            denoising=None,
            masking=None,
            super_resolution=None,
            generation=None,
            **training,
        )
        if momentum_balance is not None:
            self.laws.append(MomentumBalance(momentum_balance, targets))
        if energy_conservation is not None:
            self.laws.append(EnergyConservation(energy_conservation, targets))
