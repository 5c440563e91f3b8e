"""Many apparatus from one file: a grid or a random draw of settings, each point a folder of electrons of its own."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cres.errors import UserError
from cres.simulation.config import SimulationConfig
from cres.simulation.writer import simulate_to_files
from cres.stated import setting_name
from reconstruction import sweeps


@dataclass(frozen=True)
class PlanePoint:
    """One apparatus: its number, its configuration, and what was varied, by the names that columns have."""

    number: int
    config: SimulationConfig
    settings: Mapping[str, float]


def points_of(path: Path, task: tuple[int, int] = (0, 1)) -> Iterator[PlanePoint]:
    """Yield the points of a file that are those of task i of N: i, i + N, …

    The file has the form of a sweep: `base` is a configuration of the simulation beside it, `axes` hold lists (a grid)
    or ranges (`method: random`) of its dotted keys. Raises UserError for a file that is none, and for points that are
    no apparatus.
    """
    sweep = sweeps.read(path)
    if not sweep.is_sweep or sweep.method == "adaptive":
        raise UserError(f"{path} wants `base`, a configuration of a simulation, and `axes` of a grid or a random draw")
    number, tasks = task
    for index in range(number, len(sweep), tasks):
        varied = sweep.settings(index)
        try:
            config = SimulationConfig.from_yaml(sweep.base, {**sweep.fixed, **varied})
        except UserError as error:
            raise UserError(f"{path}, point {index}: {error}") from error
        numbers = {key: value for key, value in varied.items() if isinstance(value, int | float)}
        yield PlanePoint(index, config, {setting_name(key): float(value) for key, value in numbers.items()})


def simulate_points(
    path: Path,
    events: int,
    output: Path,
    seed: int | None,
    workers: int,
    events_per_file: int | None = None,
    task: tuple[int, int] = (0, 1),
) -> list[Path]:
    """Write `events` electrons of each point to OUTPUT/000 …, with what was varied as columns; return the folders.

    No two points have one event id. Raises UserError as `simulate_to_files` does.
    """
    folders = []
    for point in points_of(path, task):
        folder = output / f"{point.number:03d}"
        told = ", ".join(f"{name} {value:g}" for name, value in point.settings.items())
        print(f"{folder}: {told}")
        given: dict[str, Any] = {"first": point.number * events, "settings": point.settings}
        own_seed = point.config.seed if seed is None else seed
        simulate_to_files(point.config, events, folder, own_seed, workers, events_per_file, **given)
        folders.append(folder)
    return folders
