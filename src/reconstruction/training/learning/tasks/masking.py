"""Masked pre-training: stretches of what an encoder reads are hidden, and it learns to rebuild them from the rest.

What is rebuilt is the noisy view itself: noise that is independent from position to position cannot be foretold, so the
best answer is the signal alone. No truth is needed and nothing clean, so that records that were measured will do.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import ClassVar

import torch
from torch import Tensor, nn

from reconstruction.errors import UserError, nearest
from reconstruction.models import Denoiser, Encoder, SeriesLoss, SeriesMSE
from reconstruction.models.encoders.positions import valid_positions
from reconstruction.models.scaling import Standardise
from reconstruction.random.keyed import KeyedRandom
from reconstruction.random.stretches import draw_stretches
from reconstruction.records.batch import Batch, Inputs, Masks, masks_of
from reconstruction.shapes import Bool, Float, Lengths, PerRow, Series
from reconstruction.training.learning.tasks.side_task import SideTask
from reconstruction.training.network.reconstructor import Reconstructor

_NOISE_ROWS = 1 << 20
"""So many positions tell what the noise is."""


@dataclass(frozen=True)
class Hidden:
    """How much is hidden, and where.

    Args:
        share: Share of the positions that are hidden.
        length: Positions of one stretch: longer than a line is wide, or its neighbours give it away.
        towards_lines: 0 hides anywhere, 1 in proportion to the power above the noise, and between a mixture of both.

    """

    share: float = 0.3
    length: int = 8
    towards_lines: float = 0.0

    def __post_init__(self) -> None:
        """Raise UserError for what hides nothing, or everything."""
        if not 0 < self.share < 1:
            raise UserError(f"the hidden share is {self.share:g}, but must lie between 0 and 1, without the two")
        if self.length < 1:
            raise UserError(f"a hidden stretch is {self.length} positions long, but must be 1 or more")
        if not 0 <= self.towards_lines <= 1:
            raise UserError(f"towards_lines is {self.towards_lines:g}, but must lie in [0, 1]")


@dataclass(frozen=True)
class MaskingOptions:
    """What is hidden and rebuilt, view by view.

    Args:
        spans: For a view's name: stretches of its positions, samples of a series in time or bands of a spectrum.
        bands: For a view's name: bands of the spectrum of its series, which leave something at every position.
        samples: For a view's name: stretches of the positions of the input that it reads, before the view is made. What
            the view makes of the hidden ones is rebuilt from what it makes of the others, at every position.
        loss: SeriesMSE, SeriesHuber or TimeSpectrumLoss of what was hidden, in units of the noise.
        weight: Weight of this loss beside that of the targets.
        alone: Train the encoders on this task only; no truth columns are needed.

    """

    spans: dict[str, Hidden] = field(default_factory=dict)
    bands: dict[str, Hidden] = field(default_factory=dict)
    samples: dict[str, Hidden] = field(default_factory=dict)
    loss: SeriesLoss | None = None
    weight: float = 1.0
    alone: bool = False

    @property
    def views(self) -> tuple[str, ...]:
        """Names of the views of which something is hidden."""
        return tuple(dict.fromkeys((*self.spans, *self.bands, *self.samples)))

    def task(self, reconstructor: Reconstructor) -> Masking:
        """Return what learns to rebuild it."""
        return Masking(self, reconstructor)


@dataclass(frozen=True)
class HiddenSpans:
    """Positions that are hidden, (batch, position)."""

    positions: Bool[Tensor, "batch position"]

    def part(self, series: Series) -> Series:
        """Return the hidden part of a series, zero elsewhere."""
        return series * self.positions.unsqueeze(2).to(series.dtype)

    def share(self, lengths: Lengths | None) -> PerRow:
        """Return the hidden share of each record."""
        whole = self.positions.shape[1] if lengths is None else lengths.clamp(min=1)
        share = self.positions.sum(dim=1) / torch.as_tensor(whole, device=self.positions.device)
        return share.clamp(min=torch.finfo(share.dtype).tiny)  # of a record that holds nothing: 0 over it is 0


@dataclass(frozen=True)
class HiddenBands:
    """Lines that are hidden of the one-sided spectrum of a series of so many positions."""

    lines: Bool[Tensor, "batch line"]
    positions: int

    def part(self, series: Series) -> Series:
        """Return the hidden part of a series: what these lines make of it."""
        spectrum = torch.fft.rfft(series, dim=1) * self.lines.unsqueeze(2)
        return torch.fft.irfft(spectrum, n=self.positions, dim=1)

    def share(self, lengths: Lengths | None) -> PerRow:
        """Return the hidden share of white noise: a line stands for two but where it is its own mirror image."""
        weight = torch.full((self.lines.shape[1],), 2.0, device=self.lines.device)
        weight[0] = 1.0
        if self.positions % 2 == 0:
            weight[-1] = 1.0
        return (self.lines * weight).sum(dim=1) / self.positions


Hiding = HiddenSpans | HiddenBands


class HidingTask(SideTask):
    """What learns to rebuild what is hidden of noisy inputs, with a reconstructor's encoders."""

    name: ClassVar[str] = "masking"
    reads_clean: ClassVar[bool] = False

    @abstractmethod
    def forward(
        self, reconstructor: Reconstructor, inputs: Inputs, masks: Masks, random: KeyedRandom, rebuild: bool = True
    ) -> Tensor:
        """Return the weighted mean loss of what is rebuilt, or of who rebuilds nothing."""

    def objective(self, reconstructor: Reconstructor, noisy: Batch, clean: Batch, random: KeyedRandom) -> Tensor:
        """Return the loss of a batch."""
        loss: Tensor = self(reconstructor, noisy["inputs"], masks_of(noisy), random)
        return loss

    def of_nothing(self, reconstructor: Reconstructor, noisy: Batch, clean: Batch, random: KeyedRandom) -> Tensor:
        """Return the same loss for who rebuilds nothing: the floor to compare with."""
        loss: Tensor = self(reconstructor, noisy["inputs"], masks_of(noisy), random, rebuild=False)
        return loss


class Masking(HidingTask):
    """Decoders on a reconstructor's encoders, one a view, and the loss of what they rebuild.

    The encoders stay the reconstructor's own. Buffers of `noise` hold the centre and the width of each channel's noise,
    measured on the training split, so that the loss is in its units: a mean square of 1 is the noise alone, where all
    of the signal was foretold.
    """

    def __init__(self, options: MaskingOptions, reconstructor: Reconstructor) -> None:
        super().__init__()
        if not options.views:
            raise UserError(
                "model.masking hides nothing: name a view in model.masking.spans, .bands or .samples, such as "
                f"{next(iter(reconstructor.views))}"
            )
        for kind in ("spans", "bands", "samples"):
            for name in getattr(options, kind):
                _require_view(f"model.masking.{kind}", name, reconstructor.views)
        _require_no_lines(options.samples)
        self.options, self.alone = options, options.alone
        self.criterion = options.loss or SeriesMSE()
        encoders = {name: reconstructor.fusion.encoders[name] for name in options.views}
        self.rebuilders = nn.ModuleDict({name: _rebuilder(encoder) for name, encoder in encoders.items()})
        self.noise = nn.ModuleDict({name: Standardise(_channels(encoder)) for name, encoder in encoders.items()})
        self.blanks = nn.ParameterDict(
            {name: nn.Parameter(torch.zeros(_channels(encoders[name]))) for name in options.spans}
        )
        """What stands where a span is hidden, in units of the noise: learned, one number a channel."""

    def let_learn(self) -> None:
        """Let decoders and encoders learn, without what only the targets need."""
        self.requires_grad_(True)
        for rebuilder in self.rebuilders.values():
            assert isinstance(rebuilder, Denoiser)
            rebuilder.encoder.pooling.requires_grad_(False)

    @property
    def fitted(self) -> bool:
        """Whether the noise was measured."""
        return all(self._noise_of(name).fitted for name in self.options.views)

    @torch.no_grad()
    def fit(
        self, reconstructor: Reconstructor, batches: Callable[[], Iterable[Batch]], truths: Callable[[], Tensor]
    ) -> None:
        """Measure the noise of each view's channels on noisy inputs, where it is not known."""
        if self.fitted:
            return
        values: dict[str, list[Tensor]] = {name: [] for name in self.options.views}
        for batch in batches():
            for name, found in values.items():
                view, lengths = reconstructor.seen(name, batch["inputs"], masks_of(batch))
                found.append(_real(view.series, lengths))
            if all(sum(map(len, found)) >= _NOISE_ROWS for found in values.values()):
                break
        for name, found in values.items():
            self._noise_of(name).fit_to_noise(torch.cat(found))

    def forward(
        self, reconstructor: Reconstructor, inputs: Inputs, masks: Masks, random: KeyedRandom, rebuild: bool = True
    ) -> Tensor:
        """Return the weighted mean loss of rebuilding what is hidden of noisy inputs, or of who rebuilds nothing."""
        losses = [self._loss(name, reconstructor, inputs, masks, random, rebuild) for name in self.options.views]
        return self.options.weight * torch.stack(losses).mean()

    def _loss(
        self,
        name: str,
        reconstructor: Reconstructor,
        inputs: Inputs,
        masks: Masks,
        random: KeyedRandom,
        rebuild: bool,
    ) -> Tensor:
        random = random.scoped(f"masking {name}")
        seen, wanted = self._parted(name, reconstructor, inputs, masks, random)
        view, lengths = reconstructor.seen(name, seen, masks)
        noise = self._noise_of(name)
        noisy = self._in_noise(name, view.series)
        hidden = self._draw(name, noisy, lengths, random)
        if rebuild:
            shown = self._shown(name, noisy, hidden)
            made = self.rebuilders[name](noise.inverse(shown.flatten(0, 1)).view_as(shown).to(noisy.dtype), lengths)
        else:
            made = torch.zeros_like(noisy)
        if wanted is not None:
            other = self._in_noise(name, reconstructor.seen(name, wanted, masks)[0].series)
            return self.criterion(made.to(other.dtype), other, lengths).mean()
        return torch.stack([self._of_hidden(one, made, noisy, lengths) for one in hidden]).mean()

    def _parted(
        self, name: str, reconstructor: Reconstructor, inputs: Inputs, masks: Masks, random: KeyedRandom
    ) -> tuple[Inputs, Inputs | None]:
        """Return the inputs without the samples that are hidden of a view's own, and those alone; all, and None.

        Both are scaled to the noise of a whole row: there is less signal in them, not less noise.
        """
        if name not in self.options.samples:
            return inputs, None
        reads = str(reconstructor.views[name].reads)
        options, whole, real = self.options.samples[name], inputs[reads], masks.get(reads)
        hidden = _drawn("samples", name, options, torch.ones_like(whole[:, :, 0]), real, random)
        rest = ~hidden if real is None else real & ~hidden
        parts = ({reads: whole * (part * _rarity(part, real)).unsqueeze(2)} for part in (rest, hidden))
        seen, wanted = ({**inputs, **part} for part in parts)
        return seen, wanted

    def _in_noise(self, name: str, series: Series) -> Series:
        """Return a view's series in units of its noise."""
        return self._noise_of(name)(series.flatten(0, 1)).view_as(series)

    def _of_hidden(self, hidden: Hiding, made: Tensor, noisy: Tensor, lengths: Tensor | None) -> Tensor:
        """Return the mean loss over what is hidden: that of a series that errs there and nowhere else."""
        erring = noisy + hidden.part(made - noisy)
        return (self.criterion(erring, noisy, lengths) / hidden.share(lengths)).mean()

    def _draw(self, name: str, noisy: Tensor, lengths: Tensor | None, random: KeyedRandom) -> list[Hiding]:
        """Return what is hidden of a view, in units of the noise: bands first, then spans of what is left."""
        found: list[Hiding] = []
        if name in self.options.bands:
            options = self.options.bands[name]
            lines = torch.fft.rfft(noisy, dim=1, norm="ortho")
            power = torch.view_as_real(lines).square().sum(dim=(2, 3)) / lines.shape[2]
            found.append(HiddenBands(_drawn("bands", name, options, power, None, random), noisy.shape[1]))
        if name in self.options.spans:
            options = self.options.spans[name]
            real = None if lengths is None else valid_positions(lengths, noisy.shape[1])
            found.append(HiddenSpans(_drawn("spans", name, options, noisy.square().mean(dim=2), real, random)))
        return found

    def _shown(self, name: str, noisy: Tensor, hidden: list[Hiding]) -> Tensor:
        """Return what the encoder sees."""
        for one in hidden:
            noisy = noisy - one.part(noisy)
            if isinstance(one, HiddenSpans):
                noisy = noisy + one.part(self.blanks[name].to(noisy.dtype).expand_as(noisy))
        return noisy

    def _noise_of(self, name: str) -> Standardise:
        noise = self.noise[name]
        assert isinstance(noise, Standardise)
        return noise


_PLACES = {"spans": "positions", "bands": "lines in its spectrum", "samples": "positions in what it reads"}


def _drawn(
    kind: str, name: str, options: Hidden, power: Float[Tensor, "batch position"], real: Tensor | None,
    random: KeyedRandom,
) -> Tensor:  # fmt: skip
    """Return what is hidden, (batch, position), of power in units of the noise."""
    positions = power.shape[1]
    if 2 * options.length > positions:
        raise UserError(
            f"model.masking.{kind}.{name}.length is {options.length}, and the view has {positions} {_PLACES[kind]}: "
            "give at most half of them"
        )
    return draw_stretches(
        (power - 1).clamp(min=0),
        random.scoped(kind),
        share=options.share,
        length=options.length,
        towards_weight=options.towards_lines,
        real=real,
    )


def _rarity(part: Tensor, real: Tensor | None) -> Tensor:
    """Return 1/√(share of a row that a part is), (batch, 1): what its noise falls short of that of the whole."""
    whole = part.shape[1] if real is None else real.sum(dim=1, keepdim=True).clamp(min=1)
    return (part.sum(dim=1, keepdim=True).clamp(min=1) / whole).rsqrt()


def _require_no_lines(samples: dict[str, Hidden]) -> None:
    for name, options in samples.items():
        if options.towards_lines:
            raise UserError(
                f"model.masking.samples.{name}.towards_lines is {options.towards_lines:g}, but no line stands at a "
                "sample: leave it out, or hide spans of the view"
            )


def _require_view(option: str, name: str, views: nn.ModuleDict) -> None:
    if name not in views:
        raise UserError(f"{option} has {name!r}, but no view is called so{nearest(name, views)}")


def _rebuilder(encoder: nn.Module) -> Denoiser:
    assert isinstance(encoder, Encoder)
    return Denoiser(encoder, encoder.in_channels)


def _channels(encoder: nn.Module) -> int:
    assert isinstance(encoder, Encoder)
    return encoder.in_channels


def _real(series: Tensor, lengths: Tensor | None) -> Tensor:
    """Return the positions that hold something, (row, channel)."""
    return series.flatten(0, 1) if lengths is None else series[valid_positions(lengths, series.shape[1])]
