"""How a training keeps its memory: settings of the C library that are read when a process starts."""

from __future__ import annotations

import os
import sys
from typing import Final

MALLOC: Final = {
    "MALLOC_MMAP_THRESHOLD_": "4294967296",
    "MALLOC_TRIM_THRESHOLD_": "4294967296",
    "MALLOC_TOP_PAD_": "268435456",
}
"""glibc hands large blocks back to the kernel after every step and asks for them again, page by page, in the next."""


def with_malloc_settings() -> None:
    """Start this program again with the settings, once, unless they are there or another allocator is in use."""
    if not sys.platform.startswith("linux") or any(name in os.environ for name in (*MALLOC, "LD_PRELOAD")):
        return
    os.environ.update(MALLOC)
    os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])
