"""Electrons made on a device are those that the processor writes, and the forward model is batched to the last bit."""

from __future__ import annotations

import dataclasses
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from forked import run_forked
from torch.utils import backend_registration
from torch.utils._python_dispatch import TorchDispatchMode

from cres import schema
from cres.errors import UserError
from cres.simulation import ForwardModel, SimulatedElectrons, SimulationConfig, forward, sample_electrons
from cres.simulation import device_stream as module
from cres.simulation.device_stream import DeviceElectrons
from cres.simulation.generate import simulate_columns
from cres.simulation.parameters import parameters_of
from cres.simulation.source import stream_seed
from reconstruction import kernels

DEFAULT = SimulationConfig.default()
COILS = {"kind": "coils", "field_t": 0.9587, "coils": [[0.02, -0.08, 42.0], [0.02, 0.08, 42.0]]}
APPARATUS: dict[str, dict[str, Any]] = {
    "bathtub": {},
    "harmonic": {"trap": {"kind": "harmonic", "gradient_length_m": 0.5}},
    "coils": {"trap": COILS, "cavity": {"length_m": 0.16}, "readout": {"samples": 512}},
    "several pieces": {"readout": {"samples": 20_000}},
    "channels and receiver": {
        "more_channels": [{"gain": 0.5, "phase_deg": 30.0, "axial_m": 0.02}],
        "receiver": [{"class_path": "WhiteNoise", "init_args": {"density_w_per_hz": 2e-16}}],
        "readout": {"samples": 1024},
    },
}


class Dispatched(TorchDispatchMode):
    """Counts torch operations, those that the host waits for among them."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: Counter[str] = Counter()

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.calls[str(function)] += 1
        return function(*args, **(kwargs or {}))


def source_of(tree: dict[str, Any]) -> tuple[SimulatedElectrons, DeviceElectrons]:
    config = SimulationConfig.from_dict(tree)
    processor = SimulatedElectrons()
    processor.config = config
    return processor, DeviceElectrons(config)


@pytest.mark.parametrize("tree", APPARATUS.values(), ids=APPARATUS)
def test_a_device_makes_the_electrons_that_the_processor_writes(tree: dict[str, Any]) -> None:
    processor, device = source_of(tree)
    count = 5 if "coils" in str(tree) else 20
    expected, found = processor(3, 7, count), device(3, 7, count)
    assert set(found) == set(expected)
    for name, values in expected.items():
        tensor = found[name]
        assert str(tensor.dtype).removeprefix("torch.") == str(values.dtype), name
        # volts to 1e-6 of the amplitude; the truth follows from tracks in float64, energies of lines from float32
        atol = 1e-6 * np.abs(values).max() if name.startswith("output") else 0.0
        rtol = 0.0 if atol else 1e-5 if name.endswith("snr") else 1e-12
        np.testing.assert_allclose(tensor.numpy(), values, rtol=rtol, atol=atol, err_msg=name)


def test_records_that_leave_the_band_end_on_a_device_too() -> None:
    """Carriers begin beyond half of the sampling rate: such draws are refused, but electrons may be given."""
    config = SimulationConfig.from_dict({"readout": {"samples": 20_000, "sampling_rate_hz": 131.0e6}})
    electrons = sample_electrons(DEFAULT, 20, 7)
    expected, source = simulate_columns(config, electrons), DeviceElectrons(config)
    found = source.records(source.sent(electrons))
    assert (expected["window_track"] < 0).any()
    for name, values in expected.items():
        atol = 1e-6 * np.nanmax(np.abs(values)) if name.startswith("output") else 0.0
        np.testing.assert_allclose(found[name].numpy(), values, rtol=0 if atol else 1e-5, atol=atol, err_msg=name)


def test_the_twin_test_can_fail() -> None:
    """A resonance 10 kHz off, a fraction of 3e-4 of the line's width, is seen."""
    tree = {"cavity": {"resonance_hz": 25.90501e9}}
    expected = SimulatedElectrons()(3, 7, 5)
    found = source_of(tree)[1](3, 7, 5)
    name = schema.SERIES_I
    assert np.abs(found[name].numpy() - expected[name]).max() > 1e-5 * np.abs(expected[name]).max()


def test_an_electron_does_not_depend_on_its_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    source = DeviceElectrons()
    together = source(3, 5, 6)
    monkeypatch.setitem(module.SAMPLES_AT_ONCE, "cpu", 2 * 8192)  # blocks of two electrons
    in_blocks, alone = source(3, 5, 6), source.records(source.start_values(3, 8, 1))
    for name, values in alone.items():
        torch.testing.assert_close(values[0], together[name][3], rtol=1e-6, atol=1e-7, msg=name)
        torch.testing.assert_close(in_blocks[name], together[name], rtol=1e-6, atol=1e-7, msg=name)


def test_where_kernels_make_samples_a_stream_asks_for_thousands(monkeypatch: pytest.MonkeyPatch) -> None:
    assert DeviceElectrons().electrons_at_once == 1
    monkeypatch.setattr(kernels, "run_on", lambda device: True)
    sizes = {name: source_of(tree)[1].electrons_at_once for name, tree in APPARATUS.items()}
    assert sizes["bathtub"] == 8192
    assert sizes["several pieces"] == 2**26 // 20_000
    assert sizes["channels and receiver"] == 2**26 // (1024 * 2 * 8)
    long = source_of({"readout": {"samples": 2**27}})[1]
    assert long.electrons_at_once == 1


def test_start_values_come_in_any_portion_and_amplitudes_count() -> None:
    source = DeviceElectrons()
    many = source.start_values(1, 0, 8)
    alone = source.start_values(1, 3, 1)
    assert all(torch.equal(a[0], b[3]) for a, b in zip(alone, many, strict=True))
    assert torch.equal(many.at(slice(2, 4)).energy_ev, many.energy_ev[2:4])
    doubled = alone._replace(amplitude=2 * alone.amplitude)
    torch.testing.assert_close(
        source.records(doubled)[schema.SERIES_Q], 2 * source.records(alone)[schema.SERIES_Q], rtol=1e-6, atol=1e-8
    )
    assert len(source(1, 0, 0)[schema.SERIES_I]) == 0


def test_operations_do_not_grow_with_the_batch_and_the_host_never_waits() -> None:
    config = dataclasses.replace(DEFAULT, readout=dataclasses.replace(DEFAULT.readout, samples=256))
    source = DeviceElectrons(config)
    counts = []
    for batch in (4, 256):
        starts = source.start_values(0, 0, batch)
        with Dispatched() as dispatched:
            source.records(starts)
        counts.append(sum(dispatched.calls.values()))
        for waits in ("_local_scalar_dense", "nonzero", "is_nonzero", "equal.default"):
            assert not [name for name in dispatched.calls if waits in name]
    assert counts[0] == counts[1] < 800


@pytest.mark.skipif(
    not hasattr(backend_registration, "_setup_privateuseone_for_python_backend"), reason="this torch pretends no device"
)
def test_everything_stays_on_a_pretended_device() -> None:
    """In a process of its own: the backend is registered for good."""
    script = Path(__file__).with_name("pretended_device.py")
    done = run_forked(script)
    assert done.stdout.strip() == "all on the device", done.stderr[-3000:]


def test_scattering_is_refused_in_a_sentence() -> None:
    with pytest.raises(UserError, match=r"scatter.*SimulatedElectrons"):
        DeviceElectrons(SimulationConfig.from_dict({"scattering": {"density_per_m3": 1e18}}))


def test_the_stream_is_that_of_the_seed() -> None:
    expected = simulate_columns(DEFAULT, sample_electrons(DEFAULT, 2, stream_seed(5)))
    assert np.array_equal(DeviceElectrons()(5, 0, 2)[schema.ENERGY].numpy(), expected[schema.ENERGY])


def one_by_one(model: ForwardModel, parameters: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The obvious derivatives: forward differentiation of the whole record, an electron and a parameter at a time."""
    columns = []
    for row in parameters:
        for direction in torch.eye(6, dtype=torch.float64):
            columns.append(torch.func.jvp(model, (row[None],), (direction[None],))[1])
    return model(parameters), torch.stack([torch.cat(columns[i : i + 6]) for i in range(0, len(columns), 6)])


@pytest.mark.parametrize("samples_at_once", [256, 1024, 2**20])
def test_the_batched_jacobian_is_that_of_electrons_one_by_one(
    samples_at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(forward.SAMPLES_AT_ONCE, "cpu", samples_at_once)
    monkeypatch.setitem(forward.CURVES_BLOCK, "cpu", 4)
    config = dataclasses.replace(DEFAULT, readout=dataclasses.replace(DEFAULT.readout, samples=512))
    electrons = sample_electrons(config, 7, 4)
    parameters = parameters_of(electrons)
    parameters[:, 5] = torch.linspace(0.0, 2.0, 7)  # an electron without amplitude still has its derivative by it
    model = ForwardModel(config)
    for found, expected in zip(model.jacobian(parameters), one_by_one(model, parameters), strict=True):
        scale = expected.abs().amax((0, -1) if expected.ndim == 3 else None, keepdim=True)
        assert float(((found - expected).abs() / scale).max()) < 1e-9
