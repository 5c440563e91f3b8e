"""The chain on a device that is not there, in a forked child: torch learns of the device once and for all."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch.utils.backend_registration
from forked import run_forked

CHAIN = Path(__file__).parent / "chain"
SUMMARY_LINES = 80


@pytest.mark.skipif(
    not hasattr(torch.utils.backend_registration, "_setup_privateuseone_for_python_backend"),
    reason="this torch cannot be given a device written in Python",
)
@pytest.mark.parametrize("part", sorted(path.name for path in CHAIN.glob("test_*.py")))
def test_no_tensors_of_two_devices_meet(part: str) -> None:
    words = ("-q", "-m", "gpu", "--gpu-device=pretend", "-p", "no:cacheprovider", "-p", "no:xdist", CHAIN / part)
    found = run_forked(Path(pytest.__file__).with_name("__main__.py"), *words)
    assert found.returncode == 0, "\n".join(found.stdout.splitlines()[-SUMMARY_LINES:]) + found.stderr[-2000:]
    assert " passed" in found.stdout
