"""Many files in parallel, with a progress bar."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

from reconstruction.workers import process_pool

Item = TypeVar("Item")
Result = TypeVar("Result")

PRELOAD = ("cres.data.prepare.staging", __name__)
"""What the processes that read files import."""


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
    with process_pool(workers, PRELOAD) as pool:
        yield from pool.map(work, items)
