"""Carrier and spacing from all lines together: against tones, a sum over samples, and the bound of what they know."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from cres.errors import UserError
from cres.simulation import ForwardModel, SimulationConfig
from cres.simulation.parameters import parameter_rows
from cres.transforms import AlignedSpectrum
from cres.transforms.comb import _together, powers_of, read_comb
from cres.transforms.line_fit import line_fits

SAMPLES, RATE_HZ = 2048, 403e6
ORDERS = powers_of((1.0, 2.0, 3.0))
FITS = line_fits(8)


def comb_of(offset: float, spacing: float, heights: dict[int, complex]) -> torch.Tensor:
    """Return records (1, time, 1) of tones at offset + m spacing, in bins."""
    turns = torch.arange(SAMPLES, dtype=torch.float64) / SAMPLES
    tones = [a * torch.exp(2j * math.pi * (offset + m * spacing) * turns) for m, a in heights.items()]
    return torch.stack(tones).sum(0)[None, :, None]


@given(
    offset=st.floats(-0.1, 0.1),
    spacing=st.floats(40.0, 200.0),
    wrong=st.floats(-0.1, 0.1),
    phases=st.lists(st.floats(-3.0, 3.0), min_size=7, max_size=7),
)
def test_tones_give_their_offset_and_spacing(offset: float, spacing: float, wrong: float, phases: list[float]) -> None:
    # lines at the integer bins of another one would disturb it by their tails: they are weak and far
    heights = {m: np.exp(1j * phase) for m, phase in zip((-3, -2, -1, 0, 1, 2, 3), phases, strict=True)}
    spectrum = torch.fft.fft(comb_of(offset, spacing, heights), dim=1)
    # the carrier, at 0 for who measured it so, is given no say
    nothing = torch.zeros(1, dtype=torch.float64)
    found = read_comb(spectrum, torch.tensor([spacing - wrong], dtype=torch.float64), ORDERS, nothing, FITS)
    assert float(found.offset) == pytest.approx(offset, abs=0.02)
    assert float(found.spacing) == pytest.approx(wrong, abs=0.01)


def test_a_carrier_counts_by_its_power() -> None:
    spectrum = torch.fft.fft(comb_of(0.08, 100.3, {1: 1.0, -1: 1.0, 0: 2.0}), dim=1)
    orders = powers_of((1.0,))
    for power, share in ((0.0, 1.0), (2.0, 0.5), (4.0, 1 / 3)):
        carrier_power = torch.tensor([power * SAMPLES**2], dtype=torch.float64)
        found = read_comb(spectrum, torch.tensor([100.3], dtype=torch.float64), orders, carrier_power, FITS)
        assert float(found.offset) == pytest.approx(0.08 * share, abs=0.004)


def test_it_is_the_least_squares() -> None:
    generator = torch.Generator().manual_seed(1)
    power = torch.rand(3, 6, dtype=torch.float64, generator=generator)
    off = torch.randn(3, 6, dtype=torch.float64, generator=generator)
    carrier = torch.rand(3, dtype=torch.float64, generator=generator)
    found = _together(ORDERS, power, off, carrier, torch.tensor([True, True, False]))
    for row in range(2):
        weight = np.sqrt(np.append(power[row], carrier[row]))
        design = np.stack([np.ones(7), np.append(ORDERS[:, 1], 0.0)], 1) * weight[:, None]
        slow = np.linalg.lstsq(design, np.append(off[row], 0.0) * weight, rcond=None)[0]
        np.testing.assert_allclose([found.offset[row], found.spacing[row]], slow, rtol=1e-10)
    assert float(found.offset[2]) == float(found.spacing[2]) == 0.0


def test_lines_that_overlap_correct_nothing() -> None:
    spectrum = torch.fft.fft(comb_of(0.05, 12.0, {1: 1.0, -1: 1.0}), dim=1)
    found = read_comb(
        spectrum, torch.tensor([12.0], dtype=torch.float64), ORDERS, torch.ones(1, dtype=torch.float64), FITS
    )
    assert float(found.offset) == float(found.spacing) == 0.0


def test_all_lines_know_the_carrier_better_than_it_does_itself() -> None:
    # half of the power in the carrier: its error, and that of all lines, which is √½ of it
    electrons = 400
    generator = torch.Generator().manual_seed(2)
    tones = comb_of(0.0, 100.37, {0: 1.0, 1: 0.5, -1: 0.5, 2: 0.5, -2: 0.5})
    noise = torch.randn(electrons, SAMPLES, 1, 2, dtype=torch.float64, generator=generator) * 4.0
    records = tones + torch.view_as_complex(noise)
    view = AlignedSpectrum(RATE_HZ, (-4e6, 4e6), carrier_bins=8, parts=(2,), comb=(1, 2, 3), scale_volt=4.0)
    seen = view(torch.view_as_real(records[:, :, 0]))
    position = torch.full((electrons,), 2 * 100.37 - 1, dtype=torch.float64)
    found = view.correction(seen, position)
    alone_mhz = seen.scalars[:, 0].double()
    errors = [float(values.std()) for values in (alone_mhz, alone_mhz + found.scalars[:, 0])]
    # Rife & Boorstyn 1974: of a line of amplitude 1, in bins; all lines hold Σ a² = 2, the spacing Σ m² a² = 2.5 of it
    bound = math.sqrt(6 * 2 * 4.0**2 / SAMPLES) / (2 * math.pi)
    bin_mhz = RATE_HZ / SAMPLES / 1e6
    assert errors[0] / bin_mhz == pytest.approx(bound, rel=0.12)
    assert errors[1] / bin_mhz == pytest.approx(bound / math.sqrt(2), rel=0.12)
    assert float((found.position / 2).std()) == pytest.approx(bound / math.sqrt(2.5), rel=0.12)
    assert bool((found.scalars[:, 1] == 0).all())


def test_a_record_of_the_simulation_is_corrected_towards_its_frequencies() -> None:
    config = SimulationConfig.default()
    rows = parameter_rows(torch.tensor([18_580.0, 18_620.0], dtype=torch.float64), 88.6, 3.0e-3, amplitude=1.0)
    model = ForwardModel(config)
    records, lines = model(rows), model.lines(rows)
    middle_s = config.readout.samples / config.readout.sampling_rate_hz / 2
    carrier_hz, axial_hz = lines.frequencies_hz(middle_s)
    view = AlignedSpectrum(config.readout.sampling_rate_hz, carrier_bins=8, comb=(1,))
    seen = view(torch.view_as_real(records))
    step_hz = float(seen.axis_hz[1] - seen.axis_hz[0])
    position = 2 * axial_hz / step_hz - 1
    found = view.correction(seen, position + 0.15)
    torch.testing.assert_close(found.position, torch.full_like(found.position, -0.15), atol=0.02, rtol=0)
    measured_hz = seen.scalars[:, 0].double() * 1e6 + sum(view.band_hz) / 2
    after = measured_hz + found.scalars[:, 0] * 1e6 - carrier_hz
    assert float(after.abs().max()) < 0.02 * step_hz


def test_lines_are_counted_in_the_finest_part(records_of_two: tuple[AlignedSpectrum, AlignedSpectrum]) -> None:
    whole, half = records_of_two
    assert whole.comb is not None
    assert half.comb is not None
    assert whole.comb[:, 1].tolist() == [1.0, -1.0, 2.0, -2.0]
    assert half.comb[:, 1].tolist() == [0.5, -0.5, 1.0, -1.0]
    assert whole.corrects
    assert not AlignedSpectrum(RATE_HZ, carrier_bins=8).corrects


@pytest.fixture
def records_of_two() -> tuple[AlignedSpectrum, AlignedSpectrum]:
    options = {"carrier_bins": 8, "comb": (1, 2)}
    return AlignedSpectrum(RATE_HZ, **options), AlignedSpectrum(RATE_HZ, parts=(2,), **options)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"comb": (0, 1), "carrier_bins": 8}, "whole numbers from 1 on"),
        ({"comb": (2, 2), "carrier_bins": 8}, "different"),
        ({"comb": (1,)}, "carrier_bins must be 2 or more"),
        ({"comb": (1, 11), "carrier_bins": 8}, "up to 11 times as far as half_width_hz"),
        ({"comb": (1, 22), "carrier_bins": 8, "parts": (2,)}, "beyond half the sampling rate"),
    ],
)
def test_a_comb_that_cannot_be_read_is_refused(options: dict[str, object], words: str) -> None:
    with pytest.raises(UserError, match=words):
        AlignedSpectrum(RATE_HZ, **options)  # type: ignore[arg-type]
