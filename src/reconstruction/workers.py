"""Processes that share a piece of work: cheap to start, and never there longer than what started them."""

from __future__ import annotations

import importlib
import multiprocessing
import os
import sys
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing import forkserver
from multiprocessing.connection import wait
from multiprocessing.context import ForkServerContext

from reconstruction.errors import UserError


def available_cpus() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def start_early(preload: Sequence[str]) -> None:
    """Start the process that workers come from, so that its imports run beside those of this one."""
    _context(preload)
    forkserver.ensure_running()


@contextmanager
def process_pool(workers: int, preload: Sequence[str]) -> Iterator[ProcessPoolExecutor]:
    """Give a pool of processes that have imported the modules `preload`; work that was not begun is dropped at the end.

    Raises UserError when a worker is killed, as the system does where the memory is full.
    """
    pool = ProcessPoolExecutor(workers, mp_context=_context(preload), initializer=_begin, initargs=(preload,))
    try:
        yield pool
    except BrokenProcessPool as error:
        raise UserError(
            "a worker process was killed, probably because the memory is full; use fewer --workers and run again"
        ) from error
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _context(preload: Sequence[str]) -> ForkServerContext:
    """Return how workers start: forked from a server that has imported what they need, once for all.

    A forked child of this process, with its threads (numpy, torch, HDF5), may hang.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([*preload, __name__])
    return context


def _begin(preload: Sequence[str]) -> None:
    """Import what the server may lack, leave the other cores to the other workers, and do not outlive the parent."""
    for name in preload:
        importlib.import_module(name)
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(1)
    parent = multiprocessing.parent_process()
    # when the parent is killed, the pool's queues alone would let this worker wait for ever
    if parent is not None:
        threading.Thread(target=_exit_after, args=(parent.sentinel,), daemon=True).start()


def _exit_after(sentinel: int) -> None:
    wait([sentinel])
    os._exit(1)
