"""The kernels of records and of keyed numbers in Triton's interpreter, beside torch's own operations and float64.

A program of its own: the variable must be set before Triton is imported, and the suite's checks of types must not be.
"""

from __future__ import annotations

import itertools
import math
import os

os.environ["TRITON_INTERPRET"] = "1"

import numpy as np
import torch
import triton
import triton.language as tl

from cres.simulation import DeviceElectrons, SimulationConfig
from cres.simulation.device_render import render_batch
from reconstruction import kernels
from reconstruction.random import fused
from reconstruction.random.keyed import KeyedRandom, box_muller, fill, mix64, unit_interval

RATE_HZ = 403e6
EXACT = {"rtol": 0, "atol": 0}


def by_kernels(wanted):
    """Decide the path: a processor has no kernels but those of the interpreter."""
    kernels.run_on = lambda device: wanted


def curves(batch, table, powers, seed):
    """Phases and axial phases of both signs, and cubics with a mean, as float32."""
    generator = np.random.default_rng(seed)
    scale = np.array([1.0, 4e8, 1e13, 1e17])[:powers]
    phase, axial = generator.normal(size=(2, batch, powers)) * scale
    axial[:, 0] -= 50.0
    cubics = generator.normal(size=(batch, table, 8)) * 1e-7 + 3e-7
    return torch.from_numpy(phase), torch.from_numpy(axial), torch.from_numpy(cubics).float()


def twin(time_s, phase, axial, cubics, per_rad):
    """Return records and energies, an electron at a time, in double precision."""
    series, tone, rest = [], [], []
    for own_phase, own_axial, table in zip(phase.numpy(), axial.numpy(), cubics.double().numpy(), strict=True):
        place = np.polynomial.polynomial.polyval(time_s.numpy(), own_axial * per_rad)
        part = place - np.floor(place)
        rows = table[np.floor(place).astype(int) % len(table)].reshape(-1, 4, 2)
        envelope = sum(rows[:, power] * part[:, None] ** power for power in range(4)) @ [1, 1j]
        series.append(envelope * np.exp(1j * np.polynomial.polynomial.polyval(time_s.numpy(), own_phase)))
        tone.append(len(time_s) * abs(envelope.mean()) ** 2)
        rest.append((abs(envelope - envelope.mean()) ** 2).sum())
    return np.stack(series), np.array(tone), np.array(rest)


def check_records(samples, batch, table, powers, layout):
    time_s = torch.arange(samples, dtype=torch.float64) / RATE_HZ
    phase, axial, cubics = curves(batch, table, powers, samples + table)
    per_rad = table / (2 * math.pi)
    made = {}
    for wanted in (False, True):
        by_kernels(wanted)
        whole = torch.full((batch, samples + 20, 2), 7.0)
        if layout == "parts first":
            whole = torch.full((batch, 2, samples + 20), 7.0).mT
        piece = whole[:, 10 : 10 + samples]
        made[wanted] = (piece, *render_batch(time_s, phase, axial, cubics, per_rad, piece))
        assert bool((whole[:, :10] == 7).all())
        assert bool((whole[:, 10 + samples :] == 7).all())
    by_kernels(False)
    expected, tone, rest = twin(time_s, phase, axial, cubics, per_rad)
    amplitude = abs(expected).max()
    series = torch.view_as_complex(made[True][0].contiguous()).numpy()
    np.testing.assert_allclose(series, expected, rtol=0, atol=2e-6 * amplitude)
    torch.testing.assert_close(made[True][0], made[False][0], rtol=0, atol=1e-6 * float(amplitude))
    for found, plain, exact in zip(made[True][1:], made[False][1:], (tone, rest), strict=True):
        assert found.dtype == torch.float64
        assert found.shape == (batch,)
        size = samples * amplitude**2
        np.testing.assert_allclose(found.numpy(), exact, rtol=1e-6, atol=1e-13 * size)
        np.testing.assert_allclose(found.numpy(), plain.numpy(), rtol=1e-5, atol=1e-13 * size)


def check_small_rest():
    """What is left of an envelope that hardly changes is not lost beside its mean."""
    samples = 2500
    cubics = torch.zeros(1, 256, 8)
    cubics[..., 0] = 1.0 + 2e-6 * torch.sin(torch.arange(256) * (2 * math.pi / 256))
    time_s = torch.arange(samples, dtype=torch.float64) / RATE_HZ
    curve = torch.tensor([[0.3, 1e8]], dtype=torch.float64)
    by_kernels(True)
    _, rest = render_batch(time_s, curve, curve, cubics, 256 / (2 * math.pi), torch.empty(1, samples, 2))
    by_kernels(False)
    _, _, expected = twin(time_s, curve, curve, cubics, 256 / (2 * math.pi))
    np.testing.assert_allclose(rest.numpy(), expected, rtol=1e-6)


def check_electrons(samples):
    """All columns of some electrons, of one piece or two: what kernels make is what torch makes."""
    source = DeviceElectrons(SimulationConfig.from_dict({"readout": {"samples": samples}}))
    starts = source.start_values(3, 7, 2)
    by_kernels(True)
    found = source.records(starts)
    by_kernels(False)
    for name, values in source.records(starts).items():
        atol = 1e-6 * float(values.abs().max()) if name.startswith("output") else 0.0
        torch.testing.assert_close(found[name], values, rtol=0.0 if atol else 1e-6, atol=atol, msg=name)


@triton.jit
def _words(keys, lower, upper, WORDS: tl.constexpr):
    place = tl.arange(0, WORDS)
    low, high = fused.drawn(tl.load(keys + tl.program_id(0)).to(tl.uint64, bitcast=True), place.to(tl.int64))
    tl.store(lower + tl.program_id(0) * WORDS + place, low.to(tl.int32, bitcast=True))
    tl.store(upper + tl.program_id(0) * WORDS + place, high.to(tl.int32, bitcast=True))


KEYS = torch.tensor([0, 1, -1, 2**63 - 1, -(2**63), 123456789])


def check_words():
    lower, upper = torch.empty(2, len(KEYS), 64, dtype=torch.int32)
    _words[(len(KEYS),)](KEYS, lower, upper, 64)
    golden = 0x9E3779B97F4A7C15 - 2**64
    expected = mix64(KEYS[:, None] + torch.arange(1, 65) * golden).view(torch.int32)
    torch.testing.assert_close(torch.stack([lower, upper], -1).flatten(1), expected, **EXACT)


def check_keys():
    events = torch.cat([KEYS, torch.arange(1000)])
    for epoch in range(3):
        source = KeyedRandom(5, epoch, events)
        by_kernels(True)
        found = source._keys("noise")
        by_kernels(False)
        torch.testing.assert_close(found, source._keys("noise"), **EXACT)


def check_numbers(count):
    for convert, close in ((unit_interval, EXACT), (box_muller, {"rtol": 1e-6, "atol": 1e-6})):
        wide = torch.full((2, len(KEYS), count + 3), 7.0)
        for numbers, wanted in zip(wide, (False, True), strict=True):
            by_kernels(wanted)
            fill(KEYS, convert, numbers[:, :count])
        by_kernels(False)
        torch.testing.assert_close(wide[1], wide[0], **close)


def check_parts(rows, channels):
    source = KeyedRandom(1, 0, KEYS)
    whole = source.normal(rows, channels, stream="noise")
    parts = [(start, count) for start in range(rows) for count in (1, 2, rows - start) if start + count <= rows]
    by_kernels(True)
    for start, count in parts if rows < 20 else parts[:: len(parts) // 7]:
        numbers = _part(source, start, count, rows, channels)
        expected = whole[:, start : start + count].flatten(1)
        torch.testing.assert_close(numbers, expected, rtol=1e-6, atol=1e-6)
    by_kernels(False)


def _part(source, start, count, rows, channels):
    """`normal_part` as it goes where the device is no processor."""
    from reconstruction.random.keyed import half_of_pairs

    pairs = (rows * channels + 1) // 2
    first, last = start * channels, (start + count) * channels
    runs = [(first, min(last, pairs), True), (max(first, pairs) - pairs, last - pairs, False)]
    keys = source._keys("noise")
    return torch.cat([half_of_pairs(keys, a, b, pairs, cosine) for a, b, cosine in runs if a < b], 1)


def main():
    for samples, batch, table in itertools.product((1, 7, 1000), (1, 3), (16, 100, 512)):
        check_records(samples, batch, table, 2 + table % 3, "piece")
    check_records(8192, 3, 256, 3, "piece")
    check_records(2049, 2, 256, 4, "parts first")
    check_small_rest()
    check_electrons(1001)
    check_electrons(9000)
    check_words()
    check_keys()
    for count in (2, 6, 1022, 1024, 1026, 4098, 8192):
        check_numbers(count)
    for rows, channels in ((1, 1), (5, 1), (4, 3), (7, 2), (3001, 2)):
        check_parts(rows, channels)
    print("as in float64")


if __name__ == "__main__":
    main()
