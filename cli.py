"""Train and use models: python cli.py {fit,validate,test,predict,export} -c configs/s4d.yaml; see --help."""

from __future__ import annotations

import os
import sys

# glibc hands large blocks back to the kernel after every step and asks for them again, page by page, in the next one.
# It reads these settings when a process starts, so they need a fresh start of this program, once.
MALLOC = {
    "MALLOC_MMAP_THRESHOLD_": "4294967296",
    "MALLOC_TRIM_THRESHOLD_": "4294967296",
    "MALLOC_TOP_PAD_": "268435456",
}


def with_malloc_settings() -> None:
    """Start this program again with the settings, unless they are there or another allocator is in use."""
    if not sys.platform.startswith("linux") or any(name in os.environ for name in (*MALLOC, "LD_PRELOAD")):
        return
    os.environ.update(MALLOC)
    os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])


def main() -> int:
    """Run one command."""
    from cres.training.cli import main as run

    return run(sys.argv[1:])


if __name__ == "__main__":
    with_malloc_settings()
    from cres import errors

    errors.run(main)
