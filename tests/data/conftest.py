"""Makes `frames` and `eggs` importable by the tests of this folder, in any import mode; files to start from."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest


def _importable(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, Path(__file__).with_name(f"{name}.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


_FRAMES = _importable("frames")
_importable("eggs")


@pytest.fixture
def raw(tmp_path):
    """Three files with 33 electrons in the folder `raw`; the fixture is the frame of all."""
    return _FRAMES.write_frames(tmp_path / "raw")
