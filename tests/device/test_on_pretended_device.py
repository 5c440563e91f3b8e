"""The chain on a device that is not there, in a process of its own: torch learns of the device once and for all."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch.utils.backend_registration

CHAIN = Path(__file__).parent / "chain"
SUMMARY_LINES = 80


@pytest.mark.skipif(
    not hasattr(torch.utils.backend_registration, "_setup_privateuseone_for_python_backend"),
    reason="this torch cannot be given a device written in Python",
)
@pytest.mark.parametrize("part", sorted(path.name for path in CHAIN.glob("test_*.py")))
def test_no_tensors_of_two_devices_meet(part: str) -> None:
    command = [sys.executable, "-m", "pytest", "-q", "-m", "gpu", "--gpu-device=pretend", "-p", "no:cacheprovider"]
    alone = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    found = subprocess.run([*command, str(CHAIN / part)], env=alone, capture_output=True, text=True, check=False)
    assert found.returncode == 0, "\n".join(found.stdout.splitlines()[-SUMMARY_LINES:]) + found.stderr[-2000:]
