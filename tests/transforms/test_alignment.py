"""The aligned spectrum against tones whose answer is known."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from cres.errors import UserError
from cres.transforms import AlignedSpectrum
from cres.transforms.alignment import demodulate, find_carrier, fold_on_carrier
from cres.transforms.line_fit import line_fits

RATE_HZ = 403e6
BAND_HZ = (-80e6, -45e6)


def lines(samples: int, *parts: tuple[float, complex], dtype: torch.dtype = torch.complex128) -> torch.Tensor:
    """Return (1, samples, 1): the sum of the lines (frequency in Hz, complex amplitude)."""
    time_s = torch.arange(samples, dtype=torch.float64) / RATE_HZ
    total = sum(amplitude * torch.exp(2j * math.pi * frequency * time_s) for frequency, amplitude in parts)
    return torch.as_tensor(total).to(dtype).reshape(1, samples, 1)


def as_series(records: torch.Tensor) -> torch.Tensor:
    return torch.view_as_real(records.squeeze(2))


@given(frequency=st.floats(-79e6, -46e6), phase=st.floats(0, 2 * math.pi))
def test_a_pure_tone_is_found_to_a_thousandth_of_a_bin(frequency: float, phase: float) -> None:
    carrier = find_carrier(lines(2048, (frequency, 3 * np.exp(1j * phase))), RATE_HZ, BAND_HZ)
    assert carrier.frequency_hz.item() == pytest.approx(frequency, abs=1e-3 * RATE_HZ / 2048)
    assert carrier.amplitude.item() == pytest.approx(3 * math.sqrt(2048), rel=2e-3)


@given(frequency=st.floats(-79e6, -46e6), phase=st.floats(0, 2 * math.pi))
def test_a_pure_tone_fitted_to_more_bins_is_found_to_a_ten_thousandth(frequency: float, phase: float) -> None:
    carrier = find_carrier(lines(2048, (frequency, 3 * np.exp(1j * phase))), RATE_HZ, BAND_HZ, line_fits(8))
    assert carrier.frequency_hz.item() == pytest.approx(frequency, abs=1e-4 * RATE_HZ / 2048)
    assert carrier.amplitude.item() == pytest.approx(3 * math.sqrt(2048), rel=1e-3)


@pytest.mark.parametrize(("bins", "low", "high"), [(1, 1.3, 1.6), (8, 0.95, 1.1)])
def test_the_error_of_the_carrier_over_the_bound(bins: int, low: float, high: float) -> None:
    """Cramér–Rao: σ_f T = √6/(2π A), A the height of a line over the noise of its bin (Rife & Boorstyn 1974)."""
    random = torch.Generator().manual_seed(5)
    samples, rows, height = 512, 3000, 10.0
    frequency = -60e6 + 5e6 * torch.rand(rows, generator=random, dtype=torch.float64)
    turns = torch.outer(frequency, torch.arange(samples, dtype=torch.float64) / RATE_HZ)
    tone = torch.polar(torch.tensor(height / math.sqrt(samples)).double(), 2 * math.pi * turns)
    noise = torch.view_as_complex(torch.randn(rows, samples, 2, generator=random, dtype=torch.float64))
    fits = line_fits(bins) if bins > 1 else None
    found = find_carrier((tone + noise / math.sqrt(2)).unsqueeze(2), RATE_HZ, BAND_HZ, fits)
    error = (found.frequency_hz - frequency) * samples / RATE_HZ
    assert low < error.square().mean().sqrt() / (math.sqrt(6) / (2 * math.pi * height)) < high


@pytest.mark.parametrize("channels", [1, 2])
def test_the_fitted_line_against_a_search(channels: int) -> None:
    """Twin: the offset at which a sinc, with an amplitude for each channel, leaves least of 17 noisy bins."""
    torch.manual_seed(7)
    parts = [
        lines(1024, (-60.13e6, 0.4), dtype=torch.complex128),
        lines(1024, (-60.13e6, 0.2j), dtype=torch.complex128),
    ]
    records = torch.cat(parts[:channels], dim=2)
    records = records + torch.randn(1, 1024, channels, dtype=torch.complex128)
    found = find_carrier(records, RATE_HZ, BAND_HZ, line_fits(8)).frequency_hz.item() * 1024 / RATE_HZ
    spectrum = torch.fft.fft(records[0], dim=0)
    bins = round(found) + torch.arange(-8, 9)
    values = spectrum[bins] * ((-1.0) ** bins)[:, None]
    trials = torch.linspace(found - 0.3, found + 0.3, 60_001, dtype=torch.float64)
    shapes = torch.sinc(trials[:, None] - bins)
    explained = (shapes.to(values.dtype) @ values).abs().square().sum(dim=1) / shapes.square().sum(dim=1)
    assert found == pytest.approx(trials[explained.argmax()].item(), abs=5e-3)


def test_bins_beside_the_carrier_wrap_around_the_end_of_the_spectrum() -> None:
    step = RATE_HZ / 512
    for bin_ in (-0.3, 2.2, -3.4):
        found = find_carrier(lines(512, (bin_ * step, 1.0)), RATE_HZ, (-5 * step, 5 * step), line_fits(8))
        assert found.frequency_hz.item() == pytest.approx(bin_ * step, abs=1e-3 * step)


def test_a_stronger_line_outside_the_band_is_not_taken() -> None:
    carrier = find_carrier(lines(2048, (-60e6, 1.0), (20e6, 10.0)), RATE_HZ, BAND_HZ)
    assert carrier.frequency_hz.item() == pytest.approx(-60e6, abs=0.02 * RATE_HZ / 2048)


def test_several_channels_share_one_carrier() -> None:
    records = torch.cat((lines(1024, (-60.1e6, 1.0)), lines(1024, (-60.1e6, 0.5j))), dim=2)
    carrier = find_carrier(records, RATE_HZ, BAND_HZ)
    assert carrier.frequency_hz.item() == pytest.approx(-60.1e6, abs=1e-3 * RATE_HZ / 1024)
    assert carrier.amplitude.item() == pytest.approx(math.sqrt(1.25 * 1024), rel=1e-3)


@given(frequency=st.floats(-70e6, -50e6), phase=st.floats(0, 6), axial=st.floats(0, 6), bin_=st.integers(5, 90))
def test_mirror_lines_add_in_the_sum_and_vanish_in_the_difference(
    frequency: float, phase: float, axial: float, bin_: int
) -> None:
    """e^{i(φ ± 2χ)} at f ± δ: the folded sum holds √2 e^{2iχ}·√N·a at δ, the difference nothing."""
    samples, step = 2048, RATE_HZ / 2048
    turn, swing = np.exp(1j * phase), np.exp(2j * axial)
    records = lines(
        samples,
        (frequency, 5 * turn),
        (frequency + bin_ * step, 0.3 * turn * swing),
        (frequency - bin_ * step, 0.3 * turn / swing),
    )
    aligned = demodulate(records, torch.tensor([frequency], dtype=torch.float64), RATE_HZ)
    folded = fold_on_carrier(aligned, 100).sides[0]
    wanted = math.sqrt(2 * samples) * 0.3 * swing
    at_line = folded[bin_ - 1]
    np.testing.assert_allclose(at_line.numpy(), [wanted.real, wanted.imag, 0, 0], atol=1e-6)
    others = torch.cat((folded[: bin_ - 1], folded[bin_:]))
    assert others.abs().max() < 1e-6


@given(phase=st.floats(0, 6))
def test_a_common_phase_changes_nothing(phase: float) -> None:
    torch.manual_seed(1)
    records = lines(1024, (-60e6, 2.0), (-52e6, 0.5)) + 0.1 * torch.randn(1, 1024, 1, dtype=torch.complex128)
    view = AlignedSpectrum(RATE_HZ, scale_volt=1.0)
    plain, turned = view(as_series(records)), view(as_series(records * np.exp(1j * phase)))
    torch.testing.assert_close(plain.series, turned.series, atol=1e-9, rtol=1e-9)
    torch.testing.assert_close(plain.scalars, turned.scalars)


def test_float32_agrees_with_float64() -> None:
    torch.manual_seed(2)
    records = lines(8192, (-61.234e6, 0.3), (-53e6, 0.1j)) + torch.randn(1, 8192, 1, dtype=torch.complex128)
    view = AlignedSpectrum(RATE_HZ, scale_volt=1.0)
    exact, fast = view(as_series(records)), view(as_series(records).float())
    torch.testing.assert_close(fast.series.double(), exact.series, atol=2e-3, rtol=0)
    torch.testing.assert_close(fast.scalars.double(), exact.scalars, atol=1e-5, rtol=1e-5)


def test_white_noise_keeps_its_variance_and_the_scale_is_a_fixed_number() -> None:
    torch.manual_seed(3)
    view = AlignedSpectrum(RATE_HZ, scale_volt=0.5)
    noise = 0.5 * torch.randn(20, 4096, 2)
    folded = view(noise).series[:, 3:]
    assert folded.var().item() == pytest.approx(1.0, rel=0.03)
    torch.testing.assert_close(view(3 * noise).series, 3 * view(noise).series, rtol=1e-4, atol=1e-4)


def test_the_shape_is_known_before_the_first_record() -> None:
    view = AlignedSpectrum(RATE_HZ)
    out = view(torch.randn(3, 8192, 2))
    assert out.series.shape == (3, view.bins(8192), view.channels) == (3, 384, 4)
    assert out.scalars.shape == (3, view.scalar_count)
    torch.testing.assert_close(out.axis_hz, torch.arange(1, 385).double() * (RATE_HZ / 8192))


@pytest.mark.parametrize("part", [2, 3])
def test_what_stands_at_a_part_of_the_distance_against_the_direct_sum(part: int) -> None:
    """Twin: Σ (x − x̄) e^{∓2πi δ n/(part·N)}/√N of a demodulated record, for a few δ."""
    torch.manual_seed(4)
    samples, bins = 1024, 40
    records = lines(samples, (0.0, 4j), (7.3 * RATE_HZ / samples, 0.4)) + torch.randn(
        1, samples, 1, dtype=torch.complex128
    )
    folded = fold_on_carrier(records, bins, parts=(part,)).sides[0, :, 4:]
    folded = torch.view_as_complex(folded.unflatten(1, (2, 2)).contiguous())
    plain = fold_on_carrier(records, bins).sides[0]
    torch.testing.assert_close(fold_on_carrier(records, bins, parts=(part,)).sides[0, :, :4], plain)
    flat = records[0, :, 0]
    turn = flat.mean() / flat.mean().abs()
    for distance in (1, 2, 17, bins):
        waves = torch.exp(-2j * math.pi * distance * torch.arange(samples, dtype=torch.float64) / (part * samples))
        upper = ((flat - flat.mean()) * waves).sum() / math.sqrt(samples) / turn
        lower = (((flat - flat.mean()) * waves.conj()).sum() / math.sqrt(samples) / turn).conj()
        torch.testing.assert_close(folded[distance - 1], torch.stack((upper + lower, upper - lower)) / math.sqrt(2))


def test_two_lines_of_one_axial_motion_stand_in_one_place() -> None:
    """Lines at f_a and 2 f_a, f_a between two bins, in a view with half the distance beside; no carrier shows."""
    samples, step, axial = 8192, RATE_HZ / 8192, 60.5
    carrier = -1200 * step
    there = (carrier, 9.0), (carrier + axial * step, 0.3), (carrier - 2 * axial * step, 0.2)
    view = AlignedSpectrum(RATE_HZ, scale_volt=1.0, parts=(2,))
    power = view(as_series(lines(samples, *there))).series[0].unflatten(1, (2, 4)).square().sum(dim=2)
    assert power.argmax(dim=0).tolist() == [2 * axial - 1] * 2
    torch.testing.assert_close(
        power.amax(dim=0), samples * torch.tensor([0.2, 0.3]).double().square(), rtol=0.02, atol=0
    )
    assert power[:20].max() < 0.5  # the carrier's own is 660 000
    plain = AlignedSpectrum(RATE_HZ, scale_volt=1.0)(as_series(lines(samples, *there)))
    assert view.channels == 8
    torch.testing.assert_close(view(as_series(lines(samples, *there))).series[..., :4], plain.series)


@pytest.mark.parametrize("more", [{}, {"carrier_bins": 8, "parts": (2,), "rise_hz_per_s": (0.0, 1e12)}])
def test_an_empty_record_gives_finite_numbers(more) -> None:
    out = AlignedSpectrum(RATE_HZ, **more)(torch.zeros(2, 1024, 2))
    assert torch.isfinite(out.series).all()
    assert torch.isfinite(out.scalars).all()


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        ({"half_width_hz": 0.0}, "half_width_hz"),
        ({"half_width_hz": 3e8}, "half_width_hz"),
        ({"scale_volt": -1.0}, "scale"),
        ({"carrier_bins": 0}, "carrier_bins"),
        ({"rise_hz_per_s": (1e9, 0.0)}, "rise_hz_per_s"),
        ({"parts": (1,)}, "whole numbers from 2 on"),
        ({"parts": (2, 2)}, "different"),
        ({"parts": (3, 7)}, "1/21"),
    ],
)
def test_impossible_arguments_are_refused(arguments: dict[str, float], word: str) -> None:
    with pytest.raises(UserError, match=word):
        AlignedSpectrum(RATE_HZ, **arguments)


@pytest.mark.parametrize("band_hz", [(-45e6, -80e6), (-3e8, -45e6)])
def test_an_impossible_band_is_refused(band_hz: tuple[float, float]) -> None:
    with pytest.raises(UserError, match="band"):
        AlignedSpectrum(RATE_HZ, band_hz=band_hz)(torch.randn(1, 1024, 2))
