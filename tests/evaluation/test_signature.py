"""Records of another apparatus are told from the records alone, and those of the same are not."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cres.evaluation import compare
from cres.evaluation.signature import Signature, signature_of
from reconstruction.judging.tables.apparatus import APPARATUS, WARNING

RATE, OSCILLATOR, SAMPLES = 403e6, 25.97e9, 512


def draw(seed=0, count=300, shift_hz=0.0, strength=1.0, noise=0.05, axial=7.5e6, samples=SAMPLES):
    random = np.random.default_rng(seed)
    carrier = random.uniform(-70e6, -50e6, count) + shift_hz
    amplitude = strength * random.uniform(0.02, 0.2, count)
    turns = carrier[:, None] * np.arange(samples) / RATE + random.random((count, 1))
    series = amplitude[:, None] * np.exp(2j * np.pi * turns)
    volts = np.stack([series.real, series.imag], -1) + noise * random.normal(size=(count, samples, 2))
    return Signature.measure(volts, RATE, OSCILLATOR, axial + random.uniform(-1e6, 1e6, count))


def test_what_is_measured_is_what_was_drawn():
    found = draw()
    assert found.noise_volt == pytest.approx(0.05, rel=0.05)  # a tone that leaks into all bins counts a little
    assert found.line_volt[1] == pytest.approx(0.19, rel=0.15)  # 95 % of 0.02 to 0.2, between the bins less
    assert found.carrier_hz[0] == pytest.approx(-69.8e6, abs=1e6)
    assert Signature.from_dict(json.loads(json.dumps(found.to_dict()))) == found


@settings(max_examples=15, deadline=None)
@given(st.integers(1, 10_000), st.sampled_from([20, 60, 300]))
def test_the_same_apparatus_differs_in_nothing(seed, count):
    assert draw(seed, count).differences(draw(0)) == []


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"shift_hz": 8e6}, "carriers"),
        ({"shift_hz": -8e6}, "carriers"),
        ({"strength": 2.0}, "strongest lines"),
        ({"strength": 0.5}, "strongest lines"),
        ({"noise": 0.08}, "noise"),
        ({"noise": 0.03}, "noise"),
        ({"axial": 12e6}, "axial frequencies"),
        ({"samples": 256}, "256 samples (512 in training)"),
    ],
)
def test_each_difference_is_named_with_both_values(change, word):
    said = "; ".join(draw(5, **change).differences(draw(0)))
    assert word in said
    assert "in training" in said


def test_records_read_in_pieces_may_be_of_any_length():
    assert draw(5, samples=256).differences(draw(0), any_length=True) == []
    assert "noise" in "; ".join(draw(5, samples=256, noise=0.08).differences(draw(0), any_length=True))


def test_a_part_of_what_was_trained_on_is_no_difference():
    random = np.random.default_rng(3)
    turns = random.uniform(-62e6, -58e6, 100)[:, None] * np.arange(SAMPLES) / RATE
    series = random.uniform(0.02, 0.2, 100)[:, None] * np.exp(2j * np.pi * turns)
    volts = np.stack([series.real, series.imag], -1) + 0.05 * random.normal(size=(100, SAMPLES, 2))
    assert Signature.measure(volts, RATE, OSCILLATOR).differences(draw(0)) == []


def test_report_and_comparison_carry_the_warning_of_a_table(draw_table):
    table = draw_table(100).with_attributes({WARNING: "noise of 2 V", APPARATUS: json.dumps(draw().to_dict())})
    assert any("noise of 2 V" in note for note in compare([table]).notes)
    assert signature_of(table) == draw()
    assert signature_of(draw_table(100)) is None
