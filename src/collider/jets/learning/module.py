"""The module of jets: views of particles, an encoder for each; classes, masses, or particles that are drawn."""

from __future__ import annotations

from typing import Literal, Protocol, runtime_checkable

from collider.jets.learning.generation import JetGenerationOptions
from collider.jets.learning.masking import MaskedParticleOptions
from collider.jets.learning.super_resolution import JetSuperResolutionOptions
from collider.jets.learning.views import ParticlesView, SumMass
from collider.jets.schema import TRUE_MASS
from reconstruction.models import Loss
from reconstruction.models.conditioning.context import ConditionOptions
from reconstruction.training.learning.learner import CalibrationMethod, Learner
from reconstruction.training.learning.optimiser import Optimiser
from reconstruction.training.network.corruption import Corruption
from reconstruction.training.network.reconstructor import EncoderFactory, HeadFactory, build_reconstructor
from reconstruction.training.schedules import Schedule


@runtime_checkable
class JetViewFactory(Protocol):
    """Make a view of the particles of a jet."""

    def __call__(self) -> ParticlesView:
        """Return the view."""
        ...


class JetModule(Learner):
    """Learns jets.

    Args:
        targets: What is estimated; linked from the data.
        views: What is shown of the particles, by name: ParticlesView.
        encoders: An encoder for each view, under the same name: ParticleTransformer, LorentzParticleTransformer,
            SlimLorentzTransformer or DeepSetEncoder.
        head: CategoricalHead for jet_class; GaussianHead, MixtureHead, QuantileHead or PointHead for masses.
        loss: CrossEntropy for classes; GaussianNLL, CRPS, MSE, Huber or Pinball for masses, on standardised targets.
        masking: Hide particles and rebuild them, beside the targets or alone.
        generation: Draw jets of given jet_class and jet_pt, without other targets.
        super_resolution: Draw all particles of a jet from its hardest ones, without targets.
        mass_in: What masses are learned in: sum, that of the four-vectors that were seen, whose share is known equally
            well for light jets and for heavy ones; or gev.
        fusion: How features of several views are joined.
        condition: Columns that the model is told with each jet.
        optimiser: Learning rates and decay.
        schedule: Shape of the learning rate over the training.
        compile_encoders: Compile the layers of the encoders with torch.compile when training.
        compile_mode: How: default, or reduce-overhead.
        cuda_graph: Replay training steps as CUDA graphs, on one GPU where that is possible: hundreds of launches less.
        ema_decay: Validate and keep an exponential moving average of the weights with this decay a step; 0 is off.
        calibration: How the stated uncertainties are scaled after training, on the validation split: coverage,
            likelihood or none.
        weight_column: Column that says how much each jet counts in the loss of the targets.
        seed: Seed of what is random in training.
        noise_seed: Seed of what is random in judging.

    """

    system_name = "collider.jets"

    def __init__(
        self,
        targets: tuple[str, ...],
        views: dict[str, JetViewFactory],
        encoders: dict[str, EncoderFactory],
        head: HeadFactory,
        loss: Loss | None = None,
        masking: MaskedParticleOptions | None = None,
        generation: JetGenerationOptions | None = None,
        super_resolution: JetSuperResolutionOptions | None = None,
        mass_in: Literal["sum", "gev"] = "sum",
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
        yardstick = SumMass(targets) if mass_in == "sum" and TRUE_MASS in targets else None
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
            masking,
            weight_column,
            super_resolution,
            generation,
        )
