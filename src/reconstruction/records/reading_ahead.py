"""Processes that read ahead: the files that they need to start, and their end where a batch would be lost.

A worker hands over each tensor by an open file. Where it cannot, torch and Python print what happened and go on, and
the training waits for a batch that never comes. Here such a worker ends instead, with a code that says why.
"""

from __future__ import annotations

import errno
import os
import re
import sys
import traceback
import warnings
from collections.abc import Iterable
from multiprocessing.queues import Queue
from pathlib import Path
from types import TracebackType

from reconstruction.errors import UserError

ENDS = {errno.EMFILE: "too many open files", errno.ENFILE: "too many open files", errno.ENOSPC: "no space left"}
"""With these codes, those of the system, a worker ends that could not hand over a batch; how the system says it."""

OF_A_WORKER = 6
"""Files that stay open for each worker, a queue of indices and a life line, for training and validation."""
OF_BATCHES = 24
"""Files that a worker opens for two batches of six tensors, each handed over by a copy."""
SHARED_MEMORY = (
    "shared memory (/dev/shm) is full, through which data.workers hand over their batches: lower data.batch_size or "
    "data.workers (--data.workers=0 needs none), or give a container more (docker run --shm-size=8g)"
)
MARGIN = 10
"""Files that may be opened besides: checkpoints, metrics, pictures."""


def begin_reading(worker: int) -> None:
    """Prepare a worker: one of several warns, and each ends rather than let its reader wait."""
    say_once(worker)
    Queue._on_queue_feeder_error = staticmethod(lambda error, _: _end(error))  # type: ignore[attr-defined]
    sys.excepthook = _hook  # in the thread that passes on open files, too


def say_once(worker: int) -> None:
    """Let only the first of several workers warn: all of them read the same files."""
    if worker > 0:
        warnings.simplefilter("ignore")


def _hook(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    _end(error)


def _end(error: BaseException) -> None:
    """End this process, without destructors that might wait for its reader."""
    code = next((code for code, text in ENDS.items() if _means(error, code, text)), 0)
    if not code:
        traceback.print_exception(error)
        sys.stderr.flush()
    os._exit(code or 1)


def _means(error: BaseException, code: int, text: str) -> bool:
    return (isinstance(error, OSError) and error.errno == code) or bool(re.search(text, str(error), re.IGNORECASE))


def why_ended(codes: Iterable[int | None]) -> str | None:
    """Return the sentence about workers that ended with these codes, or None where they do not say why."""
    for code in codes:
        if code == errno.ENOSPC:
            return SHARED_MEMORY
        if code in ENDS:
            return too_few_files()
    return None


def file_limit() -> int | None:
    """Return how many files a process may have open; None where that is not known, or has no limit."""
    try:
        import resource

        limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    except (ImportError, OSError):
        return None
    return None if limit == resource.RLIM_INFINITY else limit


def require_files(workers: int) -> None:
    """Raise UserError where so many workers cannot be started with the files that may be open."""
    limit, is_open = file_limit(), _open_files()
    if not workers or limit is None or is_open is None:
        return
    needed = is_open + OF_A_WORKER * workers + OF_BATCHES + MARGIN
    if needed > limit:
        raise UserError(too_few_files(f", data.workers={workers} needs about {needed}"))


def _open_files() -> int | None:
    try:
        return len(list(Path("/proc/self/fd").iterdir()))
    except OSError:
        return None


def too_few_files(more: str = "") -> str:
    """Return the sentence about it."""
    limit = file_limit()
    known = "" if limit is None else f" (the limit is {limit}{more})"
    return (
        f"too few files may be open at once{known}: raise the limit before the start (ulimit -n 65536), or read with "
        "fewer processes (--data.workers=0 needs none)"
    )
