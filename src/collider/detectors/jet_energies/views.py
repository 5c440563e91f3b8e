"""What a network sees of a jet, and what its energy is measured in: that of the rules."""

from __future__ import annotations

import torch
from torch import Tensor

from collider.detectors.jet_energies.columns import LEAD, OBJECT_NUMBERS, OBJECTS
from collider.detectors.learning.views import LedView
from reconstruction.records.batch import Inputs
from reconstruction.shapes import Targets
from reconstruction.training.network.yardstick import Yardstick


class JetObjectsView(LedView):
    """A position for each track and cluster of a jet; ln pT by rules, |η| and the share of all objects as scalars."""

    reads = OBJECTS

    def __init__(self) -> None:
        super().__init__(len(OBJECT_NUMBERS), len(LEAD))


class RulesYardstick(Yardstick):
    """Measures the pT of jets in that by rules, and learns by how many usual errors that is wrong.

    The usual error is 0.4/√pT ⊕ 0.04 (pT in GeV), about the resolution of the rules: soft and hard jets are of one
    size, and who has learned nothing is as good as the rules. Buffer: `usual`, both numbers.
    """

    tails_count = False
    usual: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("usual", torch.tensor([0.4, 0.04], dtype=torch.float64))

    def forward(self, inputs: Inputs) -> Targets:
        """Return the pT by rules (batch, 1) in GeV."""
        return inputs[OBJECTS][:, 0, :1].double()

    def errors(self, inputs: Inputs) -> Targets:
        """Return the usual error as a share of it (batch, 1)."""
        stochastic, constant = self.usual
        return torch.sqrt(stochastic.square() / self(inputs) + constant.square())
