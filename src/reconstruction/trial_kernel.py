"""The smallest kernel: whether Triton can make it says whether it can make any. It needs Triton to be imported."""

from __future__ import annotations

from typing import no_type_check

import triton
import triton.language as tl


@triton.jit
@no_type_check
def write_one(place):
    """Write a one."""
    tl.store(place, 1.0)
