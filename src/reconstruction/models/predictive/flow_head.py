"""From features to a conditional normalising flow: the whole posterior of several targets together."""

from __future__ import annotations

import torch
from torch import Tensor

from reconstruction.errors import UserError
from reconstruction.models.predictive.flow import Flow, Splines
from reconstruction.models.predictive.heads import Head, Outputs, cholesky, near
from reconstruction.models.predictive.mixture import GaussianMixture
from reconstruction.shapes import Float, Targets

_SEED = 0


class FlowHead(Head):
    """A mixture of Gaussians that splines bend: modes, curved ridges, edges. Before training the splines do nothing.

    It states a joint density, which `GaussianNLL` trains, and draws from it. With `model.sheet` it speaks of targets
    whose known dependences on each other are taken out.

    Args:
        in_width: features.
        targets: number of targets.
        components: number of Gaussians.
        transforms: splines one after another.
        bins: pieces of a spline.
        context_width: numbers by which the features choose the splines.
        spline_width: width of the networks that choose the knots.
        draws: of each row, evenly spread, from which medians, error bars and intervals are read.
        hidden_width: width of the perceptron.
        dropout: dropout in the perceptron.

    """

    points: Tensor

    def __init__(
        self,
        in_width: int,
        targets: int,
        *,
        components: int = 4,
        transforms: int = 1,
        bins: int = 8,
        context_width: int = 32,
        spline_width: int = 64,
        draws: int = 256,
        hidden_width: int = 128,
        dropout: float = 0.0,
    ) -> None:
        for name, value, least in (("components", components, 1), ("transforms", transforms, 0), ("bins", bins, 2)):
            if value < least:
                raise UserError(f"the flow's {name} must be at least {least}, not {value}")
        if draws < 16:
            raise UserError(f"a flow needs at least 16 draws to read an error bar from, not {draws}")
        entries = targets * (targets + 1) // 2
        self.components, self.each = components, 1 + targets + entries
        super().__init__(in_width, targets, components * self.each + context_width, hidden_width, dropout)
        self.splines = Splines(targets, context_width, transforms, bins, spline_width)
        self.register_buffer("points", _spread(draws, targets + 1), persistent=False)
        with torch.no_grad():
            # components that start equal would stay equal
            start = self.linear.bias[: components * self.each].view(components, self.each)
            start[:, 1 : 1 + targets].normal_(std=0.5)

    def distribution(self, outputs: Outputs, anchor: Targets | None) -> Flow:
        """For each component weight, means, entries of the Cholesky factor; then the splines' context.

        All means are counted from the anchor, each in its component's own standard deviations.
        """
        split = self.components * self.each
        stated, context = outputs[:, :split].unflatten(-1, (self.components, self.each)), outputs[:, split:]
        weights, steps, entries = stated.split([1, self.targets, self.each - 1 - self.targets], dim=-1)
        choleskys = cholesky(entries, self.targets, full=True)
        first = torch.zeros_like(steps[:, 0]) if anchor is None else anchor
        mixture = GaussianMixture(
            torch.log_softmax(weights.squeeze(-1), dim=-1), near(first, steps, choleskys), choleskys
        )
        one = outputs.new_ones(self.targets)
        return Flow(self.splines, self.points, context, mixture, None, None, one, torch.zeros_like(one))


def _spread(count: int, numbers: int) -> Float[Tensor, "count number"]:
    """Return points that fill the unit cube evenly (Sobol, scrambled once and for all)."""
    return torch.quasirandom.SobolEngine(numbers, scramble=True, seed=_SEED).draw(count)
