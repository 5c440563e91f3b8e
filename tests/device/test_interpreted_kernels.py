"""What the kernels compute, without a GPU: Triton interprets them, in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from libraries import need_triton

ROOT = Path(__file__).parents[2]
KERNELS = ROOT / "tests" / "device" / "real" / "test_kernels.py"


def test_interpreted_kernels_compute_what_the_formulae_say() -> None:
    """Triton asks for the variable when it is imported."""
    need_triton()
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
