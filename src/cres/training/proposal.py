"""What a trained flow proposes of electrons: points of their posterior, keyed by event, with the density of each."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from cres import schema
from cres.errors import UserError
from cres.transforms import FROZEN_EPOCH, KeyedRandom
from reconstruction.models import FlowHead
from reconstruction.models.predictive.flow import Flow
from reconstruction.shapes import ComplexSeries, EventIds
from reconstruction.training.learning.learner import Learner

TARGETS = schema.TRUTH_COLUMNS
"""Energy, pitch angle and radius: all that the likelihood of a record does not integrate out."""
WIDER = 3.0
"""What the Gaussians of the defensive share are wider by."""


@dataclass(frozen=True, eq=False)
class FlowProposal:
    """Draws `samples` points of each record from a model's flow; the same event gets the same on every device.

    seed: of the draws; defensive: share of them from wider Gaussians. Raises UserError for a model without a flow over
    energy, pitch angle and radius.
    """

    module: Learner
    samples: int
    seed: int = 0
    defensive: float = 0.1

    def __post_init__(self) -> None:
        """Look whether the model is such a one."""
        head, targets = self.module.reconstructor.head, self.module.targets
        if not isinstance(head, FlowHead):
            raise UserError(
                f"the model's head is {type(head).__name__}, which states no joint density that samples could be drawn "
                "from: train one with a FlowHead (configs/posterior.yaml)"
            )
        if self.module.others:
            raise UserError("one model proposes samples, not an ensemble: name one run or checkpoint")
        if self.module.settings:
            raise UserError("a model that is told settings proposes no samples yet: train one for this apparatus alone")
        if sorted(targets) != sorted(TARGETS):
            raise UserError(
                f"the model's targets are {', '.join(targets)}; its samples are weighed in {', '.join(TARGETS)}: train "
                "it on these (configs/posterior.yaml)"
            )

    def __call__(
        self, series: ComplexSeries, event_id: EventIds
    ) -> tuple[Float[Tensor, "batch point 3"], Float[Tensor, "batch point"]]:
        """Return points in the order of TARGETS and ln of their density, of noisy records (batch, time) in volts."""
        flow = self.flow(series).defended(self.defensive, WIDER)
        random = KeyedRandom(self.seed, FROZEN_EPOCH, event_id.to(series.device))
        points = flow.at(random.uniform(self.samples, len(TARGETS) + 1, stream="posterior"))
        order = [self.module.targets.index(name) for name in TARGETS]
        return points[..., order], flow.log_density(points)

    def flow(self, series: ComplexSeries) -> Flow:
        """Return the flow of records in physical units, as the network states it."""
        reconstructor = self.module.reconstructor
        volts = torch.view_as_real(series).to(next(reconstructor.parameters()).dtype)
        said = reconstructor.uncalibrated(reconstructor.standardised(volts).distribution)
        assert isinstance(said, Flow)
        return said
