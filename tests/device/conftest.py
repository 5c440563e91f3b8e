"""The device that the chain is run on: the pretended one in `make test`, a real one in `make test-gpu`."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
import torch

from reconstruction.models.precision import exact_convolutions
from reconstruction.training.watching.quiet import QUIET

HERE = Path(__file__).parent
TRAINING = HERE.parent / "training"


def _module(name: str, path: Path) -> ModuleType:
    """Make a file of tests importable, whatever the import mode."""
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, path)
        assert spec is not None
        assert spec.loader is not None
        sys.modules[name] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules[name])
    return sys.modules[name]


_module("pretended", HERE / "pretended.py")
_module("training_records", TRAINING / "conftest.py")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The command line leaves these warnings out; here they would be errors."""
    for item in items:
        if HERE in item.path.parents:
            for text in (*QUIET, ".*GPU available but not used.*", ".*`weights_only` was not set.*"):
                item.add_marker(pytest.mark.filterwarnings(f"ignore:{text}"))


@pytest.fixture(scope="session")
def kind(request: pytest.FixtureRequest) -> str:
    """cuda, cpu (to try the tests themselves) or pretend."""
    kind: str = request.config.getoption("--gpu-device")
    if kind == "cuda" and not torch.cuda.is_available():
        pytest.skip("there is no GPU that torch can use: these tests need one (--gpu-device=cpu tries them without)")
    if kind == "pretend":
        import pretended

        pretended.set_up()
        _register_with_lightning()
    return kind


@pytest.fixture
def device(kind: str) -> Iterator[torch.device]:
    """The device, for the time of a test."""
    if kind == "pretend":
        from pretended import DEVICE, PretendedDevice

        with PretendedDevice():
            yield torch.device(DEVICE)
    else:
        with exact_convolutions():
            yield torch.device("cuda:0" if kind == "cuda" else kind)


@pytest.fixture(scope="session")
def trainer_options(kind: str) -> list[str]:
    """Options of the command line that run a training on the device."""
    if kind == "pretend":
        # in inference mode an operation that is made of others arrives whole, and would have to be taken apart
        return ["--trainer.accelerator=pretend", "--trainer.strategy=pretend", "--trainer.inference_mode=false"]
    return [f"--trainer.accelerator={kind}", "--trainer.devices=1"]


def _register_with_lightning() -> None:
    from lightning.pytorch.accelerators import AcceleratorRegistry
    from lightning.pytorch.strategies import SingleDeviceStrategy, StrategyRegistry
    from pretended import DEVICE, PretendedAccelerator

    if "pretend" not in AcceleratorRegistry:
        AcceleratorRegistry.register("pretend", PretendedAccelerator)
        StrategyRegistry.register("pretend", SingleDeviceStrategy, device=DEVICE)
