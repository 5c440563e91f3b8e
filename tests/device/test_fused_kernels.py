"""Kernels in Triton against torch's own operations and float64, in Triton's interpreter; what chooses between them."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest
import torch
from libraries import need_triton
from programs import run_program

from cres.simulation.device_stream import DeviceElectrons
from reconstruction import kernels
from reconstruction.random.keyed import KeyedRandom

PROGRAM = Path(__file__).with_name("interpreted_kernels.py")


def test_kernels_make_what_torch_makes(tmp_path: Path) -> None:
    need_triton()
    done = run_program([sys.executable, PROGRAM], tmp_path)
    assert done.said.splitlines()[-1:] == ["as in float64"], done.said


def test_a_processor_takes_torchs_operations() -> None:
    assert not kernels.usable(torch.ones(2))
    assert not kernels.run_on(torch.device("cpu"))


@pytest.mark.filterwarnings("ignore:`torch.jit.trace")
def test_kernels_are_asked_for_numbers_that_are_there_and_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernels, "run_on", lambda device: True)
    numbers = torch.ones(3)
    assert kernels.usable(numbers, numbers[1:])
    assert not kernels.usable(numbers, numbers[:0])
    assert not kernels.usable(numbers, torch.nn.Parameter(numbers))
    assert not kernels.usable(torch.ones(3, requires_grad=True))
    asked: list[bool] = []

    def inside(value: torch.Tensor) -> torch.Tensor:
        asked.append(kernels.usable(value))
        return value

    torch.func.vmap(inside)(numbers[:, None])
    torch.jit.trace(inside, numbers, check_trace=False)
    torch.export.export(_Asking(asked), (numbers,))
    assert asked
    assert not any(asked)


class _Asking(torch.nn.Module):
    def __init__(self, asked: list[bool]) -> None:
        super().__init__()
        self._asked = asked

    def forward(self, value: torch.Tensor) -> torch.Tensor:
        return value + 1 if kernels.usable(value) else value


def test_a_device_without_triton_is_told_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Here there is neither a card nor, in torch's build for processors, Triton."""
    if importlib.util.find_spec("triton") is None:
        assert not kernels._tried.__wrapped__(torch.device("cuda:0"))
    elif not torch.cuda.is_available():
        with pytest.warns(UserWarning, match="torch's own are used, which are slower"):
            assert not kernels._tried.__wrapped__(torch.device("cuda:0"))


def test_records_and_numbers_ask_where_they_are_made(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    monkeypatch.setattr(kernels, "run_on", lambda device: bool(asked.append(device.type)))
    source = DeviceElectrons()
    source.records(source.start_values(1, 0, 1))
    assert set(asked) == {"cpu"}
    asked.clear()
    KeyedRandom(1, 0, torch.arange(2)).normal(4, stream="noise")  # by NumPy, without a question
    assert not asked
