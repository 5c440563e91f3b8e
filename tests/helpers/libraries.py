"""Libraries that not every machine has: where one is missing its tests are skipped, but not in CI."""

from __future__ import annotations

import importlib.util
import os
from typing import NoReturn

import pytest


def lacking(text: str) -> NoReturn:
    """Skip the module or the test that asks, in CI fail, and say what is missing."""
    if os.environ.get("CI"):
        pytest.fail(text)
    pytest.skip(text, allow_module_level=True)


def need_triton() -> None:
    """Ask for Triton, whose interpreter runs a GPU's kernels on a processor."""
    if importlib.util.find_spec("triton") is None:
        lacking("torch's builds for processors bring no Triton, which interprets kernels: pip install triton")


def need_flows() -> None:
    """Ask for zuko, of which flow heads are made: a machine with packages of its own may lack it."""
    if importlib.util.find_spec("zuko") is None:
        lacking("flow heads are made of zuko's transforms: pip install zuko")
