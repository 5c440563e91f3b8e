"""Samples as files: one HDF5 file for each process and shard, in the core's layout, made by workers or an array job.

A file holds the kept events from one number to another of a process, one dataset a column. It begins Pythia with a seed
of its own, so it is the same whoever makes it, and what is complete is not made again.
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NamedTuple

import h5py
import numpy as np
import torch
from numpy.typing import NDArray

import collider
from collider.generation.config import GenerationConfig
from collider.generation.filters import EventFilter
from collider.generation.objects import reconstruct
from collider.generation.pieces import Columns, Piece, require_same, write_columns
from collider.generation.pythia import BATCH, EventGenerator, keyed_seed
from collider.generation.readers import read_events
from collider.generation.selection import NO_CHANNEL
from collider.generation.wheels import wheel
from reconstruction.errors import UserError
from reconstruction.progress import progress_bar
from reconstruction.provenance import ancestry, git_commit
from reconstruction.random.keyed import KeyedRandom
from reconstruction.workers import process_pool

EVENTS_PER_FILE: Final = 1000
SMALLEST_BATCH: Final = 25
TOGETHER: Final = 400
"""Events that are smeared and clustered together: a hundred times 4 take ten times as long."""
FUTILE: Final = 20_000
"""So many events of which none is kept are a selection that keeps none."""
UNITS: Final = {"_pb": "pb", "_gev": "GeV", "_rad": "rad"}
"""By the end of a column's name."""


class AddedColumns(ABC):
    """What an analysis writes beside the columns of generated events: made from them, and from nothing else."""

    @abstractmethod
    def columns(self, made: Columns) -> Columns:
        """Return further columns of a file, from those that it has."""

    @abstractmethod
    def facts(self) -> dict[str, Any]:
        """Return what is written as attributes; a file with other ones holds other events."""


@dataclass(frozen=True)
class SampleFile:
    """A file of a process: its kept events from number `start` to `stop`. added: what an analysis writes beside."""

    config: GenerationConfig
    start: int
    stop: int
    path: Path
    added: AddedColumns | None = None


def files_of(
    config: GenerationConfig,
    events: int,
    folder: Path,
    events_per_file: int = EVENTS_PER_FILE,
    stem: str | None = None,
    added: AddedColumns | None = None,
) -> list[SampleFile]:
    """Return the files that hold `events` kept events of a process; stem of their names: None is the process's name.

    Events of a Les Houches file come in its order from its first one on: one file holds all of them, since each of
    several would begin with the same ones.
    """
    if config.process.lhe_file:
        events_per_file = max(1, events)
    starts = range(0, events, events_per_file)
    return [
        SampleFile(
            config,
            start,
            min(start + events_per_file, events),
            folder / f"{stem or config.process.name}_{i:04d}.hdf5",
            added,
        )
        for i, start in enumerate(starts)
    ]


def write_files(
    files: Sequence[Piece],
    workers: int = 1,
    said: Callable[[str], None] = lambda _: None,
    write: Callable[[Any], int] | None = None,
    noun: str = "events",
) -> None:
    """Make those files that are not there yet. Raises UserError where other events lie in their place.

    `said` is told of each file. write: makes one of them and returns how many events were generated for it, 0 where it
    was there: `write_file`, or that of another kind of files. noun: what they hold.
    """
    events = sum(file.stop - file.start for file in files)
    with progress_bar() as bar:
        task = bar.add_task("generating", total=events, unit=noun)
        for file, generated in _write_all(files, workers, write or write_file):
            bar.advance(task, file.stop - file.start)
            kept = file.stop - file.start
            said(f"{file.path}: {kept} {noun}" + (f" of {generated} generated" if generated else ", there already"))


def _write_all(files: Sequence[Piece], workers: int, write: Callable[[Any], int]) -> Iterator[tuple[Piece, int]]:
    if workers == 1 or len(files) < 2:
        for file in files:
            yield file, write(file)
        return
    with process_pool(workers, [write.__module__]) as pool:
        futures = {pool.submit(write, file): file for file in files}
        for future in as_completed(futures):
            yield futures[future], future.result()


def write_file(file: SampleFile) -> int:
    """Generate a file's events and write it; return how many were generated for it, 0 where it was there already.

    Where only what an analysis adds has changed (luminosity, folds, masses), that is made again, and no event.
    """
    if file.path.exists():
        if not _has_added(file):
            _add_again(file)
        return 0
    _require_folder(file.path)
    random_seed = keyed_seed(file.config.seed, file.config.process.name, file.start)
    generator = EventGenerator(file.config.process, random_seed)
    sample = keyed_seed(file.config.seed, file.config.process.name)
    columns, counts, sum_of_weights = _until_enough(file, _batches(generator, file), random_seed, sample)
    columns["weight_pb"] = columns.pop("weight") * (generator.cross_section_pb / _positive(sum_of_weights, file.config))
    _write(file, columns, counts, generator.cross_section_pb)
    return counts.generated


def _require_folder(path: Path) -> None:
    """Make the folder of a file. Raises UserError, before minutes of work, where that cannot be."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"{path} cannot be written: {error.strerror or error}") from error


def convert(config: GenerationConfig, source: Path, target: Path) -> tuple[int, int]:
    """Write the kept ones of a file of somebody's events (HepMC, LHE); return how many were kept and read.

    `weight_pb` is the file's own weight, times cross_section_pb over their sum where the process names one. Raises
    UserError for what is no such file, and where none is kept.
    """
    file = SampleFile(config, 0, np.iinfo(np.int32).max, target)
    if target.exists():
        raise UserError(f"{target} is there already: remove it, or choose another --output")
    # events of two sources are other events: other ids, other random numbers
    own = keyed_seed(config.seed, config.process.name, source.name)
    if config.process.filter.hard:
        raise UserError(
            f"filter.hard of process {config.process.name} is asked of Pythia before the shower, and {source} holds "
            "events that are complete: leave it out, or ask for filter.final"
        )
    columns, counts, sum_of_weights = _until_enough(file, read_events(source), own, own, to_the_end=True)
    kept = len(columns["weight"])
    if not kept:
        raise UserError(f"none of the {counts.generated} events of {source} passes the selection")
    given = config.process.cross_section_pb
    columns["weight_pb"] = columns.pop("weight") * (1.0 if given is None else given / _positive(sum_of_weights, config))
    _write(
        SampleFile(config, 0, kept, target),
        columns,
        counts,
        float("nan") if given is None else given,
        [source],
    )
    return kept, counts.generated


def _batches(generator: EventGenerator, file: SampleFile) -> Iterator[Any]:
    """Yield batches until there are no more, small ones where signs take turns: they differ by one at most."""
    size = max(SMALLEST_BATCH, min(BATCH, (file.stop - file.start) // 4))
    if generator.process.conjugate:
        size = SMALLEST_BATCH
    while True:
        batch = generator.batch(size)
        if not len(batch):
            return
        yield batch


class Counts(NamedTuple):
    """How many events were generated for the kept ones, and how many of them passed each step of the filter."""

    generated: int = 0
    passed_hard: int = 0
    passed_final: int = 0


COUNTED: Final = ("generated", "passed_filter_hard", "passed_filter_final")
"""Attributes of a file with its counts."""
ADDED: Final = "added_columns"
"""Attribute with the names of the columns that an analysis added."""


class Worth(NamedTuple):
    """Events that passed the filter, with what was counted when each of them had been generated, itself included.

    numbers (event,): of those that passed the filter before the shower. generated (event,), weight (event,): sums.
    ends: the sums when there are no more.
    """

    events: Any
    numbers: NDArray[np.int64]
    generated: NDArray[np.int64]
    weight: NDArray[np.float64]
    ends: tuple[int, int, float]


def _worth(batches: Iterator[Any], wanted_leptons: EventFilter, together: int) -> Iterator[Worth]:
    """Yield events that pass the filter, so many together: smearing and jets of few take as long as of many."""
    ak = wheel("awkward")
    waiting: list[Worth] = []
    hard, generated, weight, told = 0, 0, 0.0, 0
    for batch in batches:
        places = np.flatnonzero(wanted_leptons.passed(batch))
        all_generated = generated + np.cumsum(batch.generated.to_numpy())
        all_weights = weight + np.cumsum(batch.generated_weight.to_numpy())
        hard, generated, weight = hard + len(batch), int(all_generated[-1]), float(all_weights[-1])
        ends = (generated, hard, weight)
        numbers = hard - len(batch) + places
        waiting.append(Worth(batch[places], numbers, all_generated[places], all_weights[places], ends))
        if sum(len(one.numbers) for one in waiting) >= together or hard - told >= FUTILE:
            yield _joined(ak, waiting)
            waiting, told = [], hard
    if waiting:
        yield _joined(ak, waiting)


def _joined(ak: Any, parts: list[Worth]) -> Worth:
    events = ak.concatenate([part.events for part in parts])
    joined = lambda name: np.concatenate([getattr(part, name) for part in parts])  # noqa: E731
    return Worth(events, joined("numbers"), joined("generated"), joined("weight"), parts[-1].ends)


def _until_enough(
    file: SampleFile, batches: Iterator[Any], seed: int, sample: int, to_the_end: bool = False
) -> tuple[Columns, Counts, float]:
    """Return the columns of the kept events, how many were needed for them, and the sum of the weights of these.

    sample: the upper half of the events' ids, which tells processes, seeds and sources apart, whose files may become
    one data set. to_the_end: batches come to an end of their own, which is waited for also where nothing is kept.
    """
    wanted = file.stop - file.start
    process = file.config.process
    parts: list[Columns] = []
    kept, counts, sum_of_weights = 0, Counts(), 0.0
    for worth in _worth(batches, process.filter, min(TOGETHER, max(SMALLEST_BATCH, wanted))):
        chosen = np.zeros(0, dtype=np.int64)
        if len(worth.numbers):
            made = _columns(file.config, worth.events, worth.numbers, seed)
            chosen = np.flatnonzero(made["channel"] != NO_CHANNEL)[: wanted - kept]
            parts.append({name: values[chosen] for name, values in made.items()})
        kept += len(chosen)
        if kept == wanted:  # the last event that is needed is the last that counts
            last = int(chosen[-1])
            sum_of_weights = float(worth.weight[last])
            final = counts.passed_final + last + 1
            counts = Counts(int(worth.generated[last]), int(worth.numbers[last]) + 1, final)
            break
        generated, hard, sum_of_weights = worth.ends
        counts = Counts(generated, hard, counts.passed_final + len(worth.numbers))
        if hard >= FUTILE and not kept and not to_the_end:
            raise UserError(f"none of {generated} events of process {process.name} passes the selection")
    if not parts or (kept < wanted and process.lhe_file):
        raise UserError(
            f"{process.lhe_file or file.path} ends after {counts.generated} events, of which {kept} pass the "
            f"selection: ask for at most {kept} --events"
        )
    columns = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    columns["event_id"] = (sample << 32) + file.start + np.arange(kept, dtype=np.int64)
    return columns, counts, sum_of_weights


def _positive(sum_of_weights: float, config: GenerationConfig) -> float:
    """Return a sum of weights. Raises UserError where it is not positive: no event can be weighed with it."""
    if not sum_of_weights > 0:
        raise UserError(
            f"the weights of {config.process.name} sum to {sum_of_weights:g}: generate more events, or use "
            "a generator without negative weights"
        )
    return sum_of_weights


def _columns(config: GenerationConfig, events: Any, numbers: NDArray[np.int64], seed: int) -> Columns:
    """Return the columns of all events of a batch; numbers (event,): which of those generated they are."""
    random = KeyedRandom(seed, 0, torch.from_numpy(numbers), scope=config.process.name)
    seen = reconstruct(events, config.detector, config.leptons, config.jets, random, config.weigh_b_tags)
    return {
        "channel": config.selection.channel_of(seen),
        "weight": seen.weight.to_numpy(),
        "missing_pt_gev": seen.missing_pt.to_numpy().astype(np.float32),
        "missing_phi_rad": seen.missing_phi.to_numpy().astype(np.float32),
        "objects": wheel("awkward").num(seen.objects).to_numpy(),
        **{
            column: padded(seen.objects[name], config.most_objects, dtype)
            for column, (name, dtype) in OBJECT_COLUMNS.items()
        },
    }


OBJECT_COLUMNS: Final[Mapping[str, tuple[str, Any]]] = {
    "object_kind": ("kind", np.int8),
    "object_pt_gev": ("pt", np.float32),
    "object_eta": ("eta", np.float32),
    "object_phi_rad": ("phi", np.float32),
    "object_mass_gev": ("mass", np.float32),
    "object_charge": ("charge", np.int8),
    "object_b_tag": ("b_tag", np.int8),
    "object_isolation": ("isolation", np.float32),
    "object_prompt": ("prompt", np.int8),
    "object_flavour": ("flavour", np.int8),
}
"""Columns (event, most_objects), zeros behind the last object, with their fields."""


def padded(values: Any, length: int, dtype: Any) -> NDArray[Any]:
    """Return lists as rows of one length, zeros behind their ends; what is beyond it is cut."""
    ak = wheel("awkward")
    return np.asarray(ak.fill_none(ak.pad_none(values, length, clip=True), 0).to_numpy(), dtype=dtype)


def _config_text(config: GenerationConfig) -> str:
    return json.dumps(config.to_dict(), sort_keys=True, default=str)


def _has_added(file: SampleFile) -> bool:
    """Return whether what was added to a file is what is wanted. Raises UserError where it holds other events."""
    told = require_same(file, _config_text(file.config))
    return all(told.get(name) == value for name, value in _added_facts(file).items())


def _add_again(file: SampleFile) -> None:
    """Write a file anew with the columns of its events and those that are wanted beside."""
    try:
        with h5py.File(file.path, "r", locking=False) as found:
            former = json.loads(str(found.attrs.get(ADDED, "[]")))
            columns = {name: found[name][()] for name in found if name not in former}
            counts = Counts(*(int(found.attrs[name]) for name in COUNTED))
            cross_section_pb = float(found.attrs["cross_section_pb"])
    except (OSError, KeyError, ValueError) as error:
        raise UserError(f"{file.path} cannot be read ({error}): remove it, or choose another --output") from error
    _write(file, columns, counts, cross_section_pb)


def _added_facts(file: SampleFile) -> dict[str, Any]:
    return {} if file.added is None else file.added.facts()


def _write(
    file: SampleFile, columns: Columns, counts: Counts, cross_section_pb: float, sources: Sequence[Path] = ()
) -> None:
    config = file.config
    added = {} if file.added is None else file.added.columns(columns)
    columns = columns | added
    made_by = ancestry(
        f"collider {collider.__version__}", git_commit(Path(__file__)), config.to_dict(), config.seed, sources
    )
    facts = {
        "process": config.process.name,
        "channels": json.dumps(config.selection.names),
        "cross_section_pb": cross_section_pb,
        **dict(zip(COUNTED, counts, strict=True)),
        ADDED: json.dumps(list(added)),
        **_added_facts(file),
    }
    units = {name: next((unit for end, unit in UNITS.items() if name.endswith(end)), "") for name in columns}
    write_columns(file, columns, units, {**made_by, **facts}, _config_text(config))
