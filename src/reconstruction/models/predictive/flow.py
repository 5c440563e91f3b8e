"""A conditional normalising flow: a mixture of Gaussians, bent by splines and sheared along what the targets obey.

x → y: known, smooth dependences between the targets are taken out (`Coordinates`). y → z: autoregressive
rational-quadratic splines whose knots a network chooses from the features (Durkan et al. 2019, arXiv:1906.04032). z: a
mixture of Gaussians from the same features. ln p(x) = ln p(z) + ln |∂z/∂y| + ln |∂y/∂x|; splines that do nothing leave
the mixture.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from reconstruction.levels import ENDS_68
from reconstruction.models.predictive.distributions import PredictiveDistribution
from reconstruction.models.predictive.draws import DrawnDistribution
from reconstruction.models.predictive.mixture import GaussianMixture
from reconstruction.shapes import Covariance, Float, PerRow, Targets

Points = Float[Tensor, "batch point target"]
Known = Float[Tensor, "batch coordinate"]
Uniforms = Float[Tensor, "batch point number"]

BOUND = 5.0
"""Splines act from −5 to 5, in standard deviations of the targets; beyond they leave everything as it is."""
_POINTS_AT_ONCE = 2**16
_HALF_A_STEP = 2.0**-25
"""Uniform numbers of 24 bits begin at 0, whose normal quantile is infinite."""


@runtime_checkable
class Coordinates(Protocol):
    """Other coordinates of the standardised targets of rows, in which they depend less on each other."""

    def to_free(self, values: Points, known: Known) -> tuple[Points, Tensor]:
        """Return the coordinates of targets, and ln |∂y/∂x| at each point, (batch, point)."""
        ...

    def from_free(self, free: Points, known: Known) -> Points:
        """Return the targets again."""
        ...


class Splines(nn.Module):
    """Autoregressive rational-quadratic splines whose knots depend on a context: y ↔ z, the identity when new.

    Args:
        targets: number of targets.
        context_width: numbers that the knots depend on.
        transforms: splines one after another, in alternating order of the targets.
        bins: pieces of a spline.
        hidden_width: width of the two layers of each one's network.

    """

    def __init__(self, targets: int, context_width: int, transforms: int, bins: int, hidden_width: int) -> None:
        super().__init__()
        # a second of imports that only flows need
        from zuko.flows.autoregressive import MaskedAutoregressiveTransform
        from zuko.transforms import MonotonicRQSTransform

        def spline(turned: bool) -> nn.Module:
            order = range(targets - 1, -1, -1) if turned else range(targets)
            made: nn.Module = MaskedAutoregressiveTransform(
                targets,
                context_width,
                order=list(order),
                univariate=MonotonicRQSTransform,
                shapes=[(bins,), (bins,), (bins - 1,)],
                hidden_features=(hidden_width, hidden_width),
                activation=nn.GELU,
            )
            for last in list(made.parameters())[-2:]:  # weight and bias of the last layer
                nn.init.zeros_(last)
            return made

        self.parts = nn.ModuleList(spline(bool(i % 2)) for i in range(transforms))

    def forward(self, free: Points, context: Float[Tensor, "batch context"]) -> tuple[Points, Float[Tensor, "b p"]]:
        """Return the latent points z and ln |∂z/∂y|."""
        total = torch.zeros_like(free[..., 0])
        for part in self.parts:
            free, change = part(context.unsqueeze(1)).call_and_ladj(free)
            total = total + change
        return free, total

    def inverse(self, latent: Points, context: Float[Tensor, "batch context"]) -> Points:
        """Return the points y whose latent points these are."""
        for part in reversed(self.parts):
            latent = part(context.unsqueeze(1)).inv(latent)
        return latent


@dataclass(frozen=True, eq=False)
class Flow(PredictiveDistribution):
    """The flow of each row of a batch, in units of its own: value = scale · x + shift.

    Where it is tempered, moved to another device or cast, its draws go: splines are a network, which stays. `points`
    (draw, number) are uniform numbers that its draws are made of, the same for each row, evenly spread.
    """

    splines: Splines
    points: Float[Tensor, "draw number"]
    context: Float[Tensor, "batch context"]
    latent: GaussianMixture
    coordinates: Coordinates | None
    known: Known | None
    scale: Tensor
    shift: Tensor

    @property
    def shape(self) -> torch.Size:
        """(batch, target)."""
        return self.latent.shape

    def sheared(self, coordinates: Coordinates, known: Known) -> Flow:
        """Return the flow as one of `coordinates`, which depend on what is `known` of each row."""
        return replace(self, coordinates=coordinates, known=known)

    def log_prob(self, value: Targets) -> PerRow:
        """Logarithm of the joint density at `value`."""
        return self.log_density(self.check(value).unsqueeze(1)).squeeze(1)

    def log_density(self, values: Points) -> Float[Tensor, "batch point"]:
        """Logarithm of the joint density at several values of each row."""
        x = (values - self._each(self.shift)) / self._each(self.scale)
        free, shear = (x, torch.zeros_like(x[..., 0])) if self.coordinates is None else self._free(x)
        latent, bend = self.splines(free.to(self.context.dtype), self.context)
        unit = self.scale.log().sum(dim=-1)
        return self._latent_log_density(latent) + bend + shear - (unit if unit.ndim == 0 else unit.unsqueeze(1))

    def at(self, uniforms: Uniforms) -> Points:
        """Return the values that uniform numbers in [0, 1) stand for, one more number than targets for each point."""
        mixture = self.latent
        numbers = uniforms.to(mixture.dtype)
        ladder = mixture.log_weights.exp().cumsum(dim=-1)
        chosen = (numbers[..., :1] * ladder[:, None, -1:] >= ladder[:, None, :-1]).sum(dim=-1)
        normal = torch.special.ndtri(numbers[..., 1:].clamp(_HALF_A_STEP, 1 - _HALF_A_STEP))
        rows = torch.arange(len(chosen), device=chosen.device).unsqueeze(1)
        spread = (mixture.choleskys[rows, chosen] @ normal.unsqueeze(-1)).squeeze(-1)
        free = self.splines.inverse(mixture.locations[rows, chosen] + spread, self.context)
        x = free if self.coordinates is None or self.known is None else self.coordinates.from_free(free, self.known)
        return x * self._each(self.scale) + self._each(self.shift)

    def defended(self, share: float, factor: float) -> Flow:
        """Return the flow with a share of its probability in Gaussians wider by a factor, in the latent coordinates.

        A proposal that is too narrow somewhere has weights without limit; these bound them (Hesterberg 1995).
        """
        if share == 0:
            return self
        mixture = self.latent
        log_weights = [mixture.log_weights + math.log1p(-share), mixture.log_weights + math.log(share)]
        wider = [mixture.choleskys, factor * mixture.choleskys]
        locations = mixture.locations.repeat(1, 2, 1)
        latent = GaussianMixture(torch.cat(log_weights, dim=1), locations, torch.cat(wider, dim=1))
        return replace(self, latent=latent)

    @cached_property
    def drawn(self) -> DrawnDistribution:
        """The distribution as draws at the evenly spread points."""
        rows = max(1, _POINTS_AT_ONCE // len(self.points))
        parts = [self._rows(slice(begin, begin + rows)) for begin in range(0, max(1, self.shape[0]), rows)]
        values = [part.at(self.points.expand(part.shape[0], -1, -1)) for part in parts]
        return DrawnDistribution(torch.cat(values))

    def _rows(self, chosen: slice) -> Flow:
        scale, shift = (part if part.ndim < 2 else part[chosen] for part in (self.scale, self.shift))
        latent = self.latent.map(lambda tensor: tensor[chosen])
        assert isinstance(latent, GaussianMixture)
        known = None if self.known is None else self.known[chosen]
        return replace(self, context=self.context[chosen], latent=latent, known=known, scale=scale, shift=shift)

    def _free(self, x: Points) -> tuple[Points, Tensor]:
        assert self.coordinates is not None
        assert self.known is not None
        return self.coordinates.to_free(x, self.known)

    def _latent_log_density(self, latent: Points) -> Float[Tensor, "batch point"]:
        """Return the mixture's log density at points of each row."""
        count = latent.shape[1]
        if count == 1:
            return self.latent.log_prob(latent.squeeze(1)).unsqueeze(1)
        every = self.latent.map(lambda tensor: tensor.repeat_interleave(count, dim=0))
        return every.log_prob(latent.flatten(0, 1)).unflatten(0, (-1, count))

    @staticmethod
    def _each(part: Tensor) -> Tensor:
        return part if part.ndim < 2 else part.unsqueeze(1)

    def map(self, function: Callable[[Tensor], Tensor]) -> PredictiveDistribution:
        """Apply `function` to the draws: the flow's network does not go where they go."""
        return self.drawn.map(function)

    @property
    def mean(self) -> Targets:
        """Mean of the draws."""
        return self.drawn.mean

    @property
    def std(self) -> Targets:
        """Standard deviation of the draws."""
        return self.drawn.std

    @property
    def covariance(self) -> Covariance:
        """Covariance of the draws."""
        return self.drawn.covariance

    def crps(self, value: Targets) -> Targets:
        """Continuous ranked probability score of the draws."""
        return self.drawn.crps(value)

    def sample(self, count: int) -> Float[Tensor, "count batch target"]:
        """Draw `count` values for each row."""
        uniforms = torch.rand(self.shape[0], count, self.shape[1] + 1, device=self.context.device)
        return self.at(uniforms).transpose(0, 1)

    def affine(self, scale: Tensor, shift: Tensor) -> Flow:
        """Scale and shift."""
        return replace(self, scale=self.scale * scale, shift=self.shift * scale + shift)

    def temper(self, temperature: Tensor) -> DrawnDistribution:
        """Return the draws, their distances from the median multiplied."""
        return self.drawn.temper(temperature)

    @property
    def estimate(self) -> Targets:
        """Median of each target's draws."""
        return self.drawn.estimate

    @property
    def error_bar(self) -> Targets:
        """Half the central 68.27 % of each target's draws."""
        lower, upper = (self.drawn.quantile(level) for level in ENDS_68)
        return 0.5 * (upper - lower)

    def quantile(self, level: float) -> Targets:
        """Quantile of each target's draws."""
        return self.drawn.quantile(level)
