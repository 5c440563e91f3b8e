"""Shapes and types of the package are checked at run time under test; which device tests marked `gpu` run on."""

from __future__ import annotations

import importlib.util

import hypothesis
import matplotlib
import pytest
from jaxtyping import install_import_hook

matplotlib.use("Agg")
install_import_hook(["cres", "reconstruction"], "beartype.beartype")

# A busy machine is no failure, and the same commit gives the same verdict.
hypothesis.settings.register_profile("cres", deadline=None, derandomize=True, max_examples=50)
hypothesis.settings.load_profile("cres")


LONGEST = ("test_on_pretended_device", "test_end_to_end", "test_endpoint_notebook", "test_notebooks", "test_shipped")
"""Files with tests of many seconds each."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What takes longest begins first: the last of several workers does not end alone."""
    items.sort(key=lambda item: item.path.stem not in LONGEST)


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
