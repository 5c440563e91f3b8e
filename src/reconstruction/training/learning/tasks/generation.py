"""Generation: records drawn for given targets, by what an encoder tells of real ones.

A conditional variational model: features of a noisy record and its targets c give a Gaussian q(z | x, c) of a few
latent numbers, a decoder gives the record's numbers μ(z, c) in units of the noise, and as the noise is known so is the
likelihood p(x | z, c). What is learned is the least of −E log p(x | z, c) + KL(q ‖ N(0, 1)), Kingma & Welling 2014,
arXiv:1312.6114, eq. 3. Drawn is from z of N(0, 1), or with `prior: flow` from a conditional flow that learned where
the z of real records lie (latent flow matching, Dao et al. 2023, arXiv:2307.08698).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from reconstruction.errors import UserError, nearest
from reconstruction.exact_buffers import ExactBuffers
from reconstruction.models import Encoder
from reconstruction.models.flow_matching import FlowMatching
from reconstruction.models.rendering import Rendering, Values
from reconstruction.models.scaling import Standardise
from reconstruction.random.keyed import KeyedRandom
from reconstruction.records.batch import Batch, masks_of
from reconstruction.shapes import Features, Float, PerRow, Series, Targets
from reconstruction.training.learning.tasks.side_task import SideTask
from reconstruction.training.network.reconstructor import Reconstructor

AT_ONCE = 256
"""Records that are rendered together."""
MARGIN = 0.02
"""So far beyond the range of the training may be drawn: what is drawn from a range never reaches its ends."""


@dataclass(frozen=True)
class GenerationOptions:
    """What is drawn, and how.

    Args:
        view: The view of real records whose encoder tells the latent numbers of each.
        rendering: What of a record is drawn.
        prior: Where the latent numbers of drawn records come from: normal, or a flow that learns it.
        latent: How many there are.
        width: Width of the perceptrons.
        depth: Hidden layers of the decoder, and blocks of the flow.
        weight: Weight of this loss beside that of the targets.
        alone: Train on this task only.

    """

    view: str
    rendering: Rendering
    prior: Literal["normal", "flow"] = "normal"
    latent: int = 2
    width: int = 128
    depth: int = 2
    weight: float = 1.0
    alone: bool = False

    def __post_init__(self) -> None:
        """Raise UserError for sizes that make no network."""
        for name in ("latent", "width", "depth"):
            if getattr(self, name) < 1:
                raise UserError(f"model.generation.{name} is {getattr(self, name)}, but must be 1 or more")

    def task(self, reconstructor: Reconstructor) -> Generation:
        """Return what learns it."""
        return Generation(self, reconstructor)


class Conditions(ExactBuffers):
    """Targets from −1 to 1 over the range of the training. Buffers in float64: `low`, `high`."""

    low: Tensor
    high: Tensor

    def __init__(self, columns: int) -> None:
        super().__init__()
        self.register_buffer("low", torch.zeros(columns, dtype=torch.float64))
        self.register_buffer("high", torch.zeros(columns, dtype=torch.float64))

    def forward(self, targets: Targets) -> Targets:
        """Return the targets in the range, float64."""
        return 2 * (targets.to(self.low) - self.low) / self.span - 1

    @property
    def span(self) -> Tensor:
        """How far the range reaches; 1 for a column that does not vary."""
        width = self.high - self.low
        return torch.where(width > 0, width, torch.ones_like(width))

    def refuse_outside(self, targets: Targets, names: tuple[str, ...]) -> None:
        """Raise UserError where targets leave the range: a network would draw something all the same."""
        inside = (targets >= self.low - MARGIN * self.span) & (targets <= self.high + MARGIN * self.span)
        for column, name in enumerate(names):
            beyond = targets[~inside[:, column], column]  # NaN, too
            if len(beyond):
                low, high = float(self.low[column]), float(self.high[column])
                raise UserError(
                    f"{name} {float(beyond[0]):g} is beyond what the generation was trained on, {low:g} to {high:g}"
                )


class Generation(SideTask):
    """Recognition on a reconstructor's encoder, decoder, and the flow of the latent numbers where there is one."""

    name: ClassVar[str] = "generation"
    reads_clean: ClassVar[bool] = False

    def __init__(self, options: GenerationOptions, reconstructor: Reconstructor) -> None:
        super().__init__()
        if options.view not in reconstructor.views:
            raise UserError(
                f"model.generation.view is {options.view!r}, but no view is called so"
                f"{nearest(options.view, reconstructor.views)}"
            )
        for name in options.rendering.given:
            if name not in reconstructor.targets:
                raise UserError(
                    f"model.generation draws records of given {', '.join(options.rendering.given)}, and {name} is none "
                    f"of data.targets{nearest(name, reconstructor.targets)}: name it there"
                )
        self.options, self.alone, self.rendering = options, options.alone, options.rendering
        self.targets = reconstructor.targets
        encoder = reconstructor.fusion.encoders[options.view]
        assert isinstance(encoder, Encoder)
        self._encoder = (encoder,)  # the reconstructor's own, and no second name of it
        latent, width, given = options.latent, options.width, len(self.targets)
        self.recognition = nn.Sequential(
            nn.Linear(encoder.output_width + given, width),
            nn.GELU(),
            nn.Linear(width, gaussian_width(latent)),
        )
        hidden = [layer for _ in range(options.depth - 1) for layer in (nn.Linear(width, width), nn.GELU())]
        self.decoder = nn.Sequential(
            nn.Linear(latent + given, width), nn.GELU(), *hidden, nn.Linear(width, self.rendering.width)
        )
        self.flow = FlowMatching(latent, given, width, options.depth) if options.prior == "flow" else None
        self.conditions = Conditions(given)
        self.sizes = Standardise(self.rendering.width)
        """Of the numbers that are drawn, which the decoder gives in these units."""

    def let_learn(self) -> None:
        """Let all of it learn, the encoder with its pooling."""
        self.requires_grad_(True)
        self._encoder[0].requires_grad_(True)

    @torch.no_grad()
    def fit(
        self, reconstructor: Reconstructor, batches: Callable[[], Iterable[Batch]], truths: Callable[[], Tensor]
    ) -> None:
        """Note the range of the targets, and how large the numbers are that are drawn, where that is not known."""
        if self.sizes.fitted:
            return
        self.sizes.fit(torch.cat([self._values(batch) for batch in batches()]))
        targets = truths()
        self.conditions.low.copy_(targets.amin(dim=0))
        self.conditions.high.copy_(targets.amax(dim=0))

    def objective(self, reconstructor: Reconstructor, noisy: Batch, clean: Batch, random: KeyedRandom) -> Tensor:
        """Return the loss of a noisy batch, in nats a record: what the record and its latent numbers cost together."""
        random = random.scoped("generation")
        dtype = next(self.decoder.parameters()).dtype
        given = self.conditions(self._truths(noisy)).to(dtype)
        view, lengths = reconstructor.seen(self.options.view, noisy["inputs"], masks_of(noisy))
        encoder = reconstructor.fusion.encoders[self.options.view]
        assert isinstance(encoder, Encoder)
        features = encoder.encode(view.series, lengths).features.to(dtype)
        mean, factor = self.recognised(features, given)
        drawn = random.normal(self.options.latent, stream="latent").to(dtype)
        latent = mean + (factor @ drawn.unsqueeze(2)).squeeze(2)
        cost = self._misfit(noisy, self.decoded(latent, given)) + divergence(mean, factor)
        loss = cost.mean()
        if self.flow is not None:
            noise = random.normal(self.options.latent, stream="flow").to(dtype)
            time = random.uniform(1, stream="time").to(dtype)
            loss = loss + self.flow.loss(latent.detach(), given, noise, time)
        return self.options.weight * loss

    def of_nothing(
        self, reconstructor: Reconstructor, noisy: Batch, clean: Batch, random: KeyedRandom
    ) -> Tensor | None:
        """Return the loss of who draws nothing but noise."""
        nothing = self._truths(noisy).new_zeros(len(noisy["event_id"]), self.rendering.width)
        return self.options.weight * self._misfit(noisy, nothing.to(next(self.decoder.parameters()))).mean()

    def recognised(
        self, features: Features, given: Targets
    ) -> tuple[Float[Tensor, "batch latent"], Float[Tensor, "batch latent latent"]]:
        """Return mean and lower triangular factor of the latent numbers of records."""
        return gaussian_of(self.recognition(torch.cat((features, given), dim=1)), self.options.latent)

    def decoded(self, latent: Float[Tensor, "batch latent"], given: Targets) -> Values:
        """Return the numbers of records, in units of the noise."""
        scaled = self.decoder(torch.cat((latent, given), dim=1))
        return self.sizes.inverse(scaled).to(scaled.dtype)

    @torch.no_grad()
    def draw(self, targets: Float[Tensor, "batch target"], positions: int, seed: int = 0) -> Series:
        """Return drawn records of so many positions, without noise, for targets in their own units.

        The same seed draws the same ones, on any device. Raises UserError beyond what the training held, and before it.
        """
        if not self.sizes.fitted:
            raise UserError("this generation was not trained: fit it, or load a checkpoint of model.generation")
        truths = targets.to(self.conditions.low)
        self.conditions.refuse_outside(truths, self.targets)
        weights = next(self.decoder.parameters())
        given = self.conditions(truths).to(weights.dtype)
        random = torch.Generator().manual_seed(seed)
        latent = torch.randn(len(truths), self.options.latent, generator=random).to(weights)
        turns = torch.rand(len(truths), self.rendering.phases, generator=random).to(weights)
        if self.flow is not None:
            latent = self.flow.flown(latent, given)
        columns = (self.decoded(latent, given), truths, turns)
        parts = zip(*(column.split(AT_ONCE) for column in columns), strict=True)  # no rows are one empty part
        return torch.cat(
            [self.rendering.series(made, self._named(asked), positions, turn) for made, asked, turn in parts]
        )

    def _values(self, batch: Batch) -> Values:
        return self.rendering.values(batch["inputs"][self.rendering.reads], self._named(self._truths(batch)))

    def _misfit(self, batch: Batch, made: Values) -> PerRow:
        return self.rendering.misfit(batch["inputs"][self.rendering.reads], self._named(self._truths(batch)), made)

    def _truths(self, batch: Batch) -> Tensor:
        if "targets" not in batch:
            raise UserError(f"the data have no columns {', '.join(self.targets)}: records are drawn for given ones")
        truths: Tensor = batch["targets"]
        return truths

    def _named(self, truths: Tensor) -> dict[str, Tensor]:
        return dict(zip(self.targets, truths.unbind(dim=1), strict=True))


def gaussian_width(latent: int) -> int:
    """Return how many outputs of a network make a Gaussian of so many latent numbers."""
    return latent + latent * (latent + 1) // 2


def gaussian_of(
    outputs: Float[Tensor, "batch output"], latent: int
) -> tuple[Float[Tensor, "batch latent"], Float[Tensor, "batch latent latent"]]:
    """Return mean and lower triangular factor of latent numbers as the outputs of a network state them."""
    mean, entries = outputs.split([latent, outputs.shape[1] - latent], dim=1)
    rows, columns = torch.tril_indices(latent, latent, device=outputs.device)
    factor = outputs.new_zeros(len(outputs), latent, latent)
    factor[:, rows, columns] = torch.where(rows == columns, nn.functional.softplus(entries) + 1e-4, entries)
    return mean, factor


def divergence(mean: Float[Tensor, "batch latent"], factor: Float[Tensor, "batch latent latent"]) -> Tensor:
    """Return KL(N(m, L Lᵀ) ‖ N(0, 1)) = ½(|m|² + |L|² − k) − Σ ln L_ii, (batch,) in nats."""
    squares = mean.square().sum(dim=1) + factor.square().sum(dim=(1, 2)) - mean.shape[1]
    return squares / 2 - factor.diagonal(dim1=1, dim2=2).log().sum(dim=1)
