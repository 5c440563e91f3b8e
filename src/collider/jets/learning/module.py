"""The module of jets: views of particles, an encoder for each; classes, masses, or particles that are drawn."""

from __future__ import annotations

from typing import Any, Literal, Protocol, runtime_checkable

from collider.jets.learning.generation import JetGenerationOptions
from collider.jets.learning.masking import MaskedParticleOptions
from collider.jets.learning.super_resolution import JetSuperResolutionOptions
from collider.jets.learning.views import ParticlesView, SumMass
from collider.jets.schema import TRUE_MASS
from reconstruction.models.conditioning.context import ConditionOptions
from reconstruction.training.learning.learner import Learner
from reconstruction.training.network.corruption import Corruption
from reconstruction.training.network.reconstructor import EncoderFactory, HeadFactory, build_reconstructor


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
        masking: Hide particles and rebuild them, beside the targets or alone.
        generation: Draw jets of given jet_class and jet_pt, without other targets.
        super_resolution: Draw all particles of a jet from its hardest ones, without targets.
        mass_in: What masses are learned in: sum, that of the four-vectors that were seen, whose share is known equally
            well for light jets and for heavy ones; or gev.
        fusion: How features of several views are joined.
        condition: Columns that the model is told with each jet.

    """

    system_name = "collider.jets"

    def __init__(
        self,
        targets: tuple[str, ...],
        views: dict[str, JetViewFactory],
        encoders: dict[str, EncoderFactory],
        head: HeadFactory,
        masking: MaskedParticleOptions | None = None,
        generation: JetGenerationOptions | None = None,
        super_resolution: JetSuperResolutionOptions | None = None,
        mass_in: Literal["sum", "gev"] = "sum",
        fusion: Literal["gated", "concatenate"] = "gated",
        condition: ConditionOptions | None = None,
        **training: Any,
    ) -> None:
        yardstick = SumMass(targets) if mass_in == "sum" and TRUE_MASS in targets else None
        super().__init__(
            build_reconstructor({}, targets, views, encoders, head, fusion, yardstick=yardstick, condition=condition),
            Corruption(),
            denoising=None,
            masking=masking,
            super_resolution=super_resolution,
            generation=generation,
            **training,
        )
