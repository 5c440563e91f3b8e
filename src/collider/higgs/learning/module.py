"""The module of the search: objects of an event → probabilities of signal and backgrounds, told two masses."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from collider.higgs.learning.views import OBJECTS, ObjectsView, Turned
from collider.higgs.networks.particle_net import ParticleNetEncoder
from reconstruction.errors import UserError
from reconstruction.models.conditioning.context import ConditionOptions
from reconstruction.models.encoders.views import RecordView
from reconstruction.training.learning.learner import Learner
from reconstruction.training.network.corruption import Corruption, Link
from reconstruction.training.network.reconstructor import EncoderFactory, HeadFactory, build_reconstructor

VIEW = "objects"


class HiggsModule(Learner):
    """Learns to tell a charged Higgs boson from its backgrounds.

    Args:
        targets: The column of the class; linked from the data.
        encoders: One encoder, "objects".
        head: CategoricalHead, whose classes have the codes of the column.
        condition: Masses that the model is told with each event, and how; null for a network of one mass point.
        hypotheses: Of the masses that the model is told, those in GeV with which ParticleNet compares the mass of each
            pair of objects, such as [mass_a_gev].
        weight_column: Column that says how much an event counts in the loss: relative_weight, or difficulty_weight,
            that times 1/((mH⁺ − mA)/mH⁺ + 0.1); null: all the same.
        turn: In training, turn events around the beam and exchange its ends.

    """

    system_name = "collider.higgs"

    def __init__(
        self,
        targets: tuple[str, ...],
        encoders: dict[str, EncoderFactory],
        head: HeadFactory,
        condition: ConditionOptions | None = None,
        hypotheses: tuple[str, ...] = (),
        weight_column: str | None = None,
        turn: bool = True,
        **training: Any,
    ) -> None:
        views: dict[str, Callable[..., RecordView]] = {VIEW: partial(ObjectsView, tuple(hypotheses))}
        reconstructor = build_reconstructor({}, targets, views, encoders, head, condition=condition)
        if hypotheses:
            _compare_pairs(reconstructor.fusion.encoders[VIEW], len(hypotheses))
        turns = [Link(Turned(), OBJECTS, training_only=True, scaled=False)] if turn else []
        super().__init__(
            reconstructor,
            Corruption(*turns),
            weight_column=weight_column,
            denoising=None,
            masking=None,
            super_resolution=None,
            generation=None,
            **training,
        )


def _compare_pairs(encoder: object, hypotheses: int) -> None:
    if not isinstance(encoder, ParticleNetEncoder):
        raise UserError(
            f"model.hypotheses are compared with the masses of pairs, which {type(encoder).__name__} does not know: "
            "use collider.higgs.networks.ParticleNetEncoder, or leave them out"
        )
    encoder.weigh_against(hypotheses)
