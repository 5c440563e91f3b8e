"""Makes `frames` importable by the tests of this folder, whatever the import mode; files of electrons to start from."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest

_SPEC = importlib.util.spec_from_file_location("frames", Path(__file__).with_name("frames.py"))
assert _SPEC is not None
assert _SPEC.loader is not None
_FRAMES = importlib.util.module_from_spec(_SPEC)
sys.modules["frames"] = _FRAMES
_SPEC.loader.exec_module(_FRAMES)


@pytest.fixture
def raw(tmp_path):
    """Three files with 33 electrons in the folder `raw`; the fixture is the frame of all."""
    return _FRAMES.write_frames(tmp_path / "raw")
