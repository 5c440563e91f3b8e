"""Electrons and keyed numbers of a real device, made by kernels where it has them, are the processor's."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from cres import schema
from cres.simulation import DeviceElectrons, SimulationConfig
from reconstruction import kernels
from reconstruction.random.keyed import KeyedRandom

pytestmark = [pytest.mark.gpu, pytest.mark.usefixtures("real")]

APPARATUS: dict[str, dict[str, Any]] = {
    "one piece": {},
    "several pieces": {"readout": {"samples": 20_000}},
    "odd": {"readout": {"samples": 1001}},
    "channels and receiver": {
        "more_channels": [{"gain": 0.5, "phase_deg": 30.0, "axial_m": 0.02}],
        "receiver": [{"class_path": "WhiteNoise", "init_args": {"density_w_per_hz": 2e-16}}],
        "readout": {"samples": 1024},
    },
}


@pytest.fixture
def real(kind: str) -> None:
    if kind != "cuda":
        pytest.skip("kernels run on a GPU alone: elsewhere torch's operations make these numbers")


@pytest.fixture
def written(device: torch.device) -> torch.device:
    """A device that runs the kernels: others have nothing to compare."""
    if not kernels.run_on(device):
        pytest.skip("this torch has no Triton, or Triton cannot make kernels here")
    return device


@pytest.mark.parametrize("tree", APPARATUS.values(), ids=APPARATUS)
def test_records_are_those_of_the_processor(tree: dict[str, Any], written: torch.device) -> None:
    config = SimulationConfig.from_dict(tree)
    expected, found = (DeviceElectrons(config, place)(3, 7, 20) for place in ("cpu", written))
    assert set(found) == set(expected)
    for name, values in expected.items():
        atol = 1e-6 * float(values.abs().max()) if name.startswith("output") else 0.0
        rtol = 0.0 if atol else 1e-5 if name.endswith("snr") else 1e-9
        torch.testing.assert_close(found[name].cpu(), values, rtol=rtol, atol=atol, equal_nan=True, msg=name)


def test_kernels_and_torchs_operations_make_the_same(written: torch.device, monkeypatch: pytest.MonkeyPatch) -> None:
    def made() -> tuple[torch.Tensor, ...]:
        columns = DeviceElectrons(device=written)(1, 0, 64)
        random = KeyedRandom(1, 0, columns[schema.EVENT_ID])
        numbers = [random.normal(count, 2, stream="noise") for count in (1, 77, 8192)]
        parts = [random.normal_part(start, 30, 77, 1, stream="noise") for start in (0, 15, 47)]
        return columns[schema.SERIES_I], random.uniform(77, stream="phase"), *numbers, *parts

    by_kernels, again = made(), made()
    monkeypatch.setattr(kernels, "run_on", lambda device: False)
    plain = made()
    for one, other in zip(by_kernels, again, strict=True):
        assert torch.equal(one, other)
    assert torch.equal(by_kernels[1], plain[1])
    amplitude = float(plain[0].abs().max())
    torch.testing.assert_close(by_kernels[0], plain[0], rtol=0, atol=1e-6 * amplitude)
    for one, other in zip(by_kernels[2:], plain[2:], strict=True):
        torch.testing.assert_close(one, other, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("shape", [(), (1,), (77,), (8192, 2), (4097, 1)])
def test_numbers_are_those_of_the_processor(shape: tuple[int, ...], written: torch.device) -> None:
    events = torch.tensor([0, 1, -1, 2**63 - 1, -(2**63), 123456789])
    here, there = KeyedRandom(3, 5, events), KeyedRandom(3, 5, events, written)
    assert torch.equal(there.uniform(*shape, stream="s").cpu(), here.uniform(*shape, stream="s"))
    expected = here.normal(*shape, stream="s")
    torch.testing.assert_close(there.normal(*shape, stream="s").cpu(), expected, rtol=1e-5, atol=1e-5)
    if shape and shape[0] > 20:
        part = there.normal_part(11, 9, *shape, stream="s").cpu()
        torch.testing.assert_close(part, expected[:, 11:20], rtol=1e-5, atol=1e-5)


def test_offsets_beyond_31_bits(written: torch.device) -> None:
    """The last event's numbers lie behind 2³¹ others (8.6 GB)."""
    count, events = 2**22 + 2, 513
    if torch.cuda.mem_get_info(written)[0] < 12e9:
        pytest.skip("9 GB of free memory are needed")
    numbers = KeyedRandom(1, 0, torch.arange(events, device=written)).normal(count, stream="s")
    alone = KeyedRandom(1, 0, torch.tensor([events - 1], device=written)).normal(count, stream="s")
    assert torch.equal(numbers[-1:], alone)
