"""Series to series: a denoiser on any encoder, which can also pre-train it, and its losses."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn

from reconstruction.errors import UserError
from reconstruction.models.encoders.base import Encoder, check_series
from reconstruction.models.encoders.positions import valid_positions
from reconstruction.shapes import Float, Lengths, PerRow, Series


class Denoiser(nn.Module):
    """Noisy series in, clean series of the same length out.

    Each position's features become the `stride` samples that the position stands for, through a small perceptron.

    Args:
        encoder: any encoder; its pooling is not used.
        out_channels: channels of the clean series.

    """

    def __init__(self, encoder: Encoder, out_channels: int) -> None:
        super().__init__()
        self.encoder = encoder
        self.out_channels = out_channels
        width = encoder.sequence_width
        self.decoder = nn.Sequential(
            nn.Linear(width, width), nn.GELU(), nn.Linear(width, encoder.stride * out_channels)
        )

    def forward(self, series: Series, lengths: Lengths | None = None) -> Float[Tensor, "batch time clean"]:
        """Return (batch, time, out_channels), zero beyond each record."""
        check_series(series, lengths, self.encoder.in_channels)
        values, _ = self.encoder.sequence(series, lengths)
        samples = self.decoder(values).unflatten(-1, (self.encoder.stride, self.out_channels)).flatten(1, 2)
        samples = samples[:, : series.shape[1]]
        if lengths is None:
            return samples
        return samples * valid_positions(lengths, series.shape[1]).unsqueeze(-1).to(samples.dtype)


class SeriesLoss(nn.Module, ABC):
    """Abstract loss between two series: one number a record; padding does not count."""

    def forward(self, output: Series, target: Series, lengths: Lengths | None = None) -> PerRow:
        """Return the loss of each record; ValueError when the shapes differ."""
        if output.shape != target.shape:
            raise ValueError(f"output {tuple(output.shape)} and target {tuple(target.shape)} must have one shape")
        if lengths is not None:
            valid = valid_positions(lengths, output.shape[1]).unsqueeze(-1)
            output, target = output.where(valid, 0), target.where(valid, 0)
        # The spectra of the losses below must not run in half precision.
        with torch.autocast(output.device.type, enabled=False):
            return self.between(output.to(target.dtype), target, lengths)

    @abstractmethod
    def between(self, output: Tensor, target: Tensor, lengths: Tensor | None) -> PerRow:
        """Loss of series that are zero beyond each record."""


class SeriesMSE(SeriesLoss):
    """Mean squared error over samples and channels."""

    def between(self, output: Tensor, target: Tensor, lengths: Tensor | None) -> PerRow:
        """Squared differences."""
        return _mean((output - target).square(), lengths)


class SeriesHuber(SeriesLoss):
    """Mean Huber loss over samples and channels.

    Args:
        delta: difference (in units of the series) at which the loss becomes linear.

    """

    def __init__(self, delta: float = 1.0) -> None:
        super().__init__()
        self.delta = delta

    def between(self, output: Tensor, target: Tensor, lengths: Tensor | None) -> PerRow:
        """Squared below `delta`, linear above."""
        return _mean(nn.functional.huber_loss(output, target, reduction="none", delta=self.delta), lengths)


class TimeSpectrumLoss(SeriesLoss):
    """Mean squared error in time plus that of the magnitudes of the spectra.

    By Parseval the complex spectrum would only repeat the time; magnitudes weigh the lines without their phases.

    Args:
        spectrum_weight: weight of the spectral term.

    """

    def __init__(self, spectrum_weight: float = 1.0) -> None:
        super().__init__()
        if spectrum_weight < 0:
            raise UserError(f"the weight of the spectral loss must be at least 0, not {spectrum_weight}")
        self.spectrum_weight = spectrum_weight

    def between(self, output: Tensor, target: Tensor, lengths: Tensor | None) -> PerRow:
        """Both terms in squared units of the series."""
        spectra = [torch.fft.rfft(series, dim=1, norm="ortho").abs() for series in (output, target)]
        # A one-sided spectrum holds half of the bins of the series.
        spectral = 2 * (spectra[0] - spectra[1]).square().sum(dim=(1, 2))
        counts = _counts(output, lengths) * output.shape[2]
        return _mean((output - target).square(), lengths) + self.spectrum_weight * spectral / counts


def _counts(values: Tensor, lengths: Tensor | None) -> Tensor:
    if lengths is None:
        return torch.full_like(values[:, 0, 0], values.shape[1])
    return lengths.clamp(min=1).to(values.dtype)


def _mean(values: Tensor, lengths: Tensor | None) -> Tensor:
    return values.sum(dim=(1, 2)) / (_counts(values, lengths) * values.shape[2])
