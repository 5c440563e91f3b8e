"""Series to series, and the losses between series."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from reconstruction.models import (
    ConvNetEncoder,
    Denoiser,
    Encoder,
    LSTMEncoder,
    S4DEncoder,
    SeriesHuber,
    SeriesLoss,
    SeriesMSE,
    TimeSpectrumLoss,
)

LOSSES: list[SeriesLoss] = [SeriesMSE(), SeriesHuber(0.5), TimeSpectrumLoss(0.3)]


@pytest.mark.parametrize(
    "encoder",
    [
        S4DEncoder(2, 8, 4, 2),
        S4DEncoder(2, 8, 4, 2, stride=3, downsample=(1, 2)),
        ConvNetEncoder(2, 8, downsample=(2,)),
        LSTMEncoder(2, 8, stride=5),
    ],
)
def test_shapes_and_padding(encoder: Encoder) -> None:
    denoiser = Denoiser(encoder, 3).double().eval()
    series = torch.randn(2, 31, 2, dtype=torch.float64)
    lengths = torch.tensor([31, 13])
    output = denoiser(series, lengths)
    assert output.shape == (2, 31, 3)
    assert output[1, 13:].abs().max() == 0
    torch.testing.assert_close(output[1:, :13], denoiser(series[1:, :13]))


@pytest.mark.parametrize("loss", LOSSES)
def test_padding_does_not_count(loss: SeriesLoss) -> None:
    output, target = torch.randn(2, 2, 40, 2, dtype=torch.float64).unbind(0)
    lengths = torch.tensor([40, 11])
    whole = loss(output, target, lengths)
    assert whole.shape == (2,)
    output[1, 11:] = torch.nan
    torch.testing.assert_close(loss(output, target, lengths), whole)
    torch.testing.assert_close(loss(output[:1], target[:1]), whole[:1])
    assert (loss(target, target, lengths) == 0).all()


def test_losses_by_hand() -> None:
    output, target = torch.zeros(1, 8, 1), torch.full((1, 8, 1), 2.0)
    assert float(SeriesMSE()(output, target)) == pytest.approx(4)
    assert float(SeriesHuber(0.5)(output, target)) == pytest.approx(0.5 * (2 - 0.25))
    impulse = torch.zeros(1, 8, 1)
    impulse[0, 3] = 1
    # An impulse elsewhere has the same magnitudes of the spectrum: only the time term is left.
    assert float(TimeSpectrumLoss(5.0)(impulse.roll(2, dims=1), impulse)) == pytest.approx(2 / 8, abs=1e-6)


def test_other_shapes_are_refused() -> None:
    with pytest.raises(Exception, match=r"one shape|Type-check"):
        SeriesMSE()(torch.zeros(2, 5, 2), torch.zeros(2, 5, 1))


def test_removes_noise_from_a_tone() -> None:
    """After a short training the mean squared error is well below the noise."""
    torch.manual_seed(0)
    denoiser = Denoiser(S4DEncoder(1, 16, 16, 1, stride=4), 1)
    optimizer = torch.optim.Adam(denoiser.parameters(), lr=1e-2)
    time = torch.arange(128) / 128
    for _ in range(80):
        phase = 2 * torch.pi * torch.rand(32, 1)
        clean = torch.sin(2 * torch.pi * 5 * time + phase).unsqueeze(-1)
        loss = SeriesMSE()(denoiser(clean + 0.5 * torch.randn_like(clean)), clean).mean()
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(denoiser.parameters(), 1.0)
        optimizer.step()
    assert float(loss.detach()) < 0.1 * 0.5
