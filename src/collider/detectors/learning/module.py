"""The module of candidates: views of detectors, an encoder for each, and momenta in units of what was measured."""

from __future__ import annotations

from typing import Literal, Protocol, runtime_checkable

from collider.detectors.learning.views import IN_GEV, DetectorYardstick, MeasuredIn
from reconstruction.models import Loss
from reconstruction.models.conditioning.context import ConditionOptions
from reconstruction.models.encoders.views import RecordView
from reconstruction.training.learning.learner import CalibrationMethod, Learner
from reconstruction.training.learning.optimiser import Optimiser
from reconstruction.training.network.corruption import Corruption
from reconstruction.training.network.reconstructor import EncoderFactory, HeadFactory, build_reconstructor
from reconstruction.training.schedules import Schedule


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
        loss: GaussianNLL, CRPS, MSE, Huber or Pinball, on standardised targets; CrossEntropy for classes.
        measured_in: What momenta and energies are learned in: what tracker, ecal, hcal (both calorimeters) or muon says
            of the candidate; best, the track and without one the calorimeters; or gev.
        fusion: How features of several views are joined.
        condition: Columns that the model is told with each candidate.
        optimiser: Learning rates and decay.
        schedule: Shape of the learning rate over the training.
        compile_encoders: Compile the layers of the encoders with torch.compile when training.
        compile_mode: How: default, or reduce-overhead.
        cuda_graph: Replay training steps as CUDA graphs, on one GPU where that is possible: hundreds of launches less.
        ema_decay: Validate and keep an exponential moving average of the weights with this decay a step; 0 is off.
        calibration: How the stated uncertainties are scaled after training, on the validation split: coverage,
            likelihood or none.
        weight_column: Column that says how much each candidate counts in the loss of the targets.
        seed: Seed of what is random in training.
        noise_seed: Seed of what is random in judging.

    """

    system_name = "collider.detectors"

    def __init__(
        self,
        targets: tuple[str, ...],
        views: dict[str, DetectorViewFactory],
        encoders: dict[str, EncoderFactory],
        head: HeadFactory,
        loss: Loss | None = None,
        measured_in: MeasuredIn = "best",
        fusion: Literal["gated", "concatenate"] = "gated",
        condition: ConditionOptions | None = None,
        optimiser: Optimiser = Optimiser(),
        schedule: Schedule | None = None,
        compile_encoders: bool = False,
        compile_mode: Literal["default", "reduce-overhead"] = "default",
        cuda_graph: bool = True,
        ema_decay: float = 0.0,
        calibration: CalibrationMethod = "coverage",
        weight_column: str | None = None,
        seed: int = 0,
        noise_seed: int = 0,
    ) -> None:
        measured = measured_in != "gev" and any(name in IN_GEV for name in targets)
        yardstick = DetectorYardstick(targets, measured_in) if measured else None
        super().__init__(
            build_reconstructor({}, targets, views, encoders, head, fusion, yardstick=yardstick, condition=condition),
            Corruption(),
            loss,
            None,
            optimiser,
            schedule,
            compile_encoders,
            compile_mode,
            cuda_graph,
            ema_decay,
            calibration,
            seed,
            noise_seed,
            weight_column=weight_column,
        )
