"""One clock for all that is timed: wall time, read when the device has done what it was asked for."""

from __future__ import annotations

import time

import torch


def wall_seconds(device: torch.device) -> float:
    """Return the wall clock's time, in s from an arbitrary zero, once the device has finished its work."""
    if device.type != "cpu":
        torch.get_device_module(device.type).synchronize()
    return time.perf_counter()
