"""What the kernels compute, without a GPU: Triton interprets them, in a process of its own."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
KERNELS = ROOT / "tests" / "device" / "real" / "test_kernels.py"


@pytest.mark.skipif(
    importlib.util.find_spec("triton") is None, reason="Triton is not installed: torch's builds for a GPU bring it"
)
def test_interpreted_kernels_compute_what_the_formulae_say() -> None:
    """Triton asks for the variable when it is imported."""
    words = ["-q", "-m", "gpu", "--gpu-device=cpu", "-p", "no:cacheprovider", KERNELS]
    path = os.pathsep.join((str(ROOT / "src"), os.environ.get("PYTHONPATH", "")))
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *words],
        cwd=ROOT,
        env={**os.environ, "TRITON_INTERPRET": "1", "PYTHONPATH": path},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
    assert " passed" in done.stdout
