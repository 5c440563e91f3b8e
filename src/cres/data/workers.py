"""Many files in parallel, with a progress bar, and without workers that outlive a killed parent."""

from __future__ import annotations

import multiprocessing
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import forkserver
from multiprocessing.connection import wait
from multiprocessing.context import ForkServerContext
from typing import TypeVar

from cres.errors import UserError

Item = TypeVar("Item")
Result = TypeVar("Result")


def available_cpus() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def start_early() -> None:
    """Start the process that workers come from, so that its imports run beside those of this one."""
    _context()
    forkserver.ensure_running()


def _context() -> ForkServerContext:
    """Return how workers start: forked from a server that has imported what they need, once for all.

    A forked child of this process, with its threads (numpy, torch, HDF5), may hang.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["cres.data.staging", __name__])
    return context


def map_files(
    work: Callable[[Item], Result],
    items: Sequence[Item],
    workers: int,
    description: str,
    rows: Callable[[Result], int],
) -> list[Result]:
    """Return the results in the order of the items; the bar counts files and electrons.

    The first exception ends the whole, files that were not begun are dropped.
    """
    from cres.progress import progress_bar  # the workers need none

    results: list[Result] = []
    with progress_bar() as bar:
        task = bar.add_task(description, total=len(items), unit="files")
        electrons = 0
        for result in _results(work, items, min(workers, len(items))):
            results.append(result)
            electrons += rows(result)
            bar.update(task, advance=1, description=f"{description} ({electrons:,} electrons)")
    return results


def _results(work: Callable[[Item], Result], items: Sequence[Item], workers: int) -> Iterator[Result]:
    if workers <= 1:
        yield from map(work, items)
        return
    pool = ProcessPoolExecutor(workers, mp_context=_context(), initializer=_die_with_parent)
    try:
        yield from pool.map(work, items)
    except BrokenProcessPool as error:
        raise UserError(
            "a worker process was killed, probably because the memory is full; use fewer --workers and run again"
        ) from error
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _die_with_parent() -> None:
    """End this worker when its parent was killed: the pool's queues alone would let it wait for ever."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_exit_after, args=(parent.sentinel,), daemon=True).start()


def _exit_after(sentinel: int) -> None:
    wait([sentinel])
    os._exit(1)
