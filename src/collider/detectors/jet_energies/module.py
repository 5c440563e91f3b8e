"""The module of jets: a set of tracks and clusters → the pT of the jet, in units of what the rules say."""

from __future__ import annotations

from typing import Any

from collider.detectors.jet_energies.views import JetObjectsView, RulesYardstick
from reconstruction.training.learning.learner import Learner
from reconstruction.training.network.corruption import Corruption
from reconstruction.training.network.reconstructor import EncoderFactory, HeadFactory, build_reconstructor


class JetEnergyModule(Learner):
    """Learns the pT of jets.

    Args:
        targets: What is estimated; linked from the data.
        encoder: Of the tracks and clusters of a jet: ObjectSetEncoder.
        head: GaussianHead, MixtureHead, QuantileHead or PointHead.

    """

    system_name = "collider.detectors.jet_energies"

    def __init__(self, targets: tuple[str, ...], encoder: EncoderFactory, head: HeadFactory, **training: Any) -> None:
        views, encoders = {"objects": JetObjectsView}, {"objects": encoder}
        super().__init__(
            build_reconstructor({}, targets, views, encoders, head, yardstick=RulesYardstick()),
            Corruption(),
            denoising=None,
            masking=None,
            super_resolution=None,
            generation=None,
            **training,
        )
