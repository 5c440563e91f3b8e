"""The chain on a device that is not there, in a forked child: torch learns of the device once and for all."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch.utils.backend_registration
from forked import run_forked
from programs import run_program

CHAIN = Path(__file__).parent / "chain"
TOO_LATE = "device_ready_queues_"
"""What torch says where a test went backward in this process before: it has counted its devices, for children too."""
SUMMARY_LINES = 80


@pytest.mark.skipif(
    not hasattr(torch.utils.backend_registration, "_setup_privateuseone_for_python_backend"),
    reason="this torch cannot be given a device written in Python",
)
@pytest.mark.parametrize("part", sorted(path.name for path in CHAIN.glob("test_*.py")))
def test_no_tensors_of_two_devices_meet(part: str, tmp_path: Path) -> None:
    words = ("-q", "-m", "gpu", "--gpu-device=pretend", "-p", "no:cacheprovider", "-p", "no:xdist", CHAIN / part)
    found = run_forked(Path(pytest.__file__).with_name("__main__.py"), *words)
    code, said = found.returncode, found.stdout + found.stderr
    if TOO_LATE in said:
        alone = run_program([sys.executable, "-m", "pytest", *words], tmp_path)
        code, said = alone.code, alone.said
    assert code == 0, "\n".join(said.splitlines()[-SUMMARY_LINES:])
    assert " passed" in said
