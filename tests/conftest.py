"""Shapes and types of the package are checked at run time under test; which device tests marked `gpu` run on."""

from __future__ import annotations

import gc
import importlib.util
import os
import signal
from pathlib import Path
from typing import Any

import hypothesis
import matplotlib
import pytest
from begun_elsewhere import begun_elsewhere
from run_time_types import check_types

matplotlib.use("Agg")
check_types()

# A shell starts what runs in its background with interrupts ignored; every program that a test starts inherits that.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# A busy machine is no failure, and the same commit gives the same verdict.
hypothesis.settings.register_profile("cres", deadline=None, derandomize=True, max_examples=50)
hypothesis.settings.load_profile("cres")


# Modules and collected tests are a million objects that live to the end: nobody need look through them again and again.
gc.disable()


def pytest_sessionstart(session: pytest.Session) -> None:
    """Let each of several workers begin to collect elsewhere: what one has compiled the others only read.

    At the same files all of them would compile each: on a first run that is more than half of the time until the first
    test begins.
    """
    workers = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", 1))
    config = session.config
    if workers > 1 and config.args_source is pytest.Config.ArgsSource.TESTPATHS:
        worker = int(os.environ["PYTEST_XDIST_WORKER"].removeprefix("gw"))
        config.args = [str(path) for path in begun_elsewhere(Path(__file__).parent, worker, workers)]


def pytest_collection_finish() -> None:
    """Let the collector see only what comes from now on."""
    gc.freeze()
    gc.enable()


LONGEST = (
    *("test_on_pretended_device", "test_two_processes", "test_end_to_end", "test_learning", "test_straight_lines"),
    *("test_notebooks", "test_endpoint_notebook", "test_endpoint_quality", "test_interruption", "test_sweep"),
    *("test_distributed", "test_wheel"),
)
"""Files of many seconds each that would otherwise begin late, or wait for programs."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What takes longest begins first: the last of several workers, each with a file, does not end alone.

    Else by name, in whatever order they were collected: workers must agree.
    """
    items.sort(key=lambda item: (item.path.stem not in LONGEST, item.path.parts))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """One worker more than cores (`-n auto`): a fifth of the time tests wait, for programs, signals and limits."""
    from reconstruction.workers import available_cpus

    return available_cpus() + 1


@pytest.hookimpl(optionalhook=True)
def pytest_timeout_set_timer(item: pytest.Item, settings: Any) -> bool | None:
    """Count the processor time that a test gets in place of the wall's, where the system tells it."""
    if not Path("/proc/self/stat").exists():
        return None
    from pytest_timeout import timeout_timer
    from starved import Limit

    limit = Limit(settings.timeout, lambda: timeout_timer(item, settings))
    item.cancel_timeout = limit.cancel  # type: ignore[attr-defined]  # as pytest-timeout's own timers are called off
    limit.start()
    return True


def pytest_addoption(parser: pytest.Parser) -> None:
    """The device of the tests marked `gpu`."""
    parser.addoption(
        "--gpu-device",
        choices=["cuda", "cpu", "pretend"],
        default="cuda",
        help="what the tests marked gpu run on; cpu tries them, pretend finds tensors on two devices without a GPU",
    )
    if importlib.util.find_spec("pytest_timeout") is None:
        parser.addini("timeout", "what pytest-timeout would read, were it there")
