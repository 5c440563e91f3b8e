"""Electrons → `.pkl.gz` shards: parallel, atomic, restartable, the same bytes for any number of workers."""

from __future__ import annotations

import gzip
import json
import pickle
from collections import Counter
from collections.abc import Iterator, Mapping
from concurrent.futures import as_completed
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

import cres
from cres import schema
from cres.errors import UserError
from cres.progress import progress_bar
from cres.provenance import git_commit
from cres.simulation.config import SimulationConfig
from cres.simulation.electrons import draw_counted
from cres.simulation.generate import simulate_columns
from cres.simulation.holding import WORDS, Fate
from reconstruction.files import write_whole
from reconstruction.workers import process_pool

PICKLE_PROTOCOL = 4
GZIP_LEVEL = 1
MANIFEST = "simulation.json"
EVENTS_PER_FILE = 1000
SERIES_BYTES_PER_FILE = 64 * 2**20
"""Long records share a file until it is this large: a writing process holds about four times as much."""


@dataclass(frozen=True)
class ShardPlan:
    """One file: electrons `start` to `start + count` of (config, seed), with settings as further columns."""

    path: Path
    start: int
    count: int
    settings: Mapping[str, float] = field(default_factory=dict)


def events_in_a_file(config: SimulationConfig) -> int:
    """Return how many electrons share a file where nothing else is asked for: 1000, fewer of long records."""
    row = 8 * config.readout.samples * (1 + len(config.more_channels))
    return max(1, min(EVENTS_PER_FILE, SERIES_BYTES_PER_FILE // row))


def shards(
    output_dir: Path, events: int, events_per_file: int, first: int = 0, settings: Mapping[str, float] | None = None
) -> list[ShardPlan]:
    """Return the files that hold `events` electrons from the `first` on."""
    starts = range(0, events, events_per_file)
    return [
        ShardPlan(
            output_dir / f"electrons_{i:05d}.pkl.gz",
            first + start,
            min(events_per_file, events - start),
            settings or {},
        )
        for i, start in enumerate(starts)
    ]


def simulate_to_files(
    config: SimulationConfig,
    events: int,
    output_dir: Path,
    seed: int,
    workers: int = 1,
    events_per_file: int | None = None,
    first: int = 0,
    settings: Mapping[str, float] | None = None,
) -> list[Path]:
    """Write `electrons_00000.pkl.gz` … and the manifest `simulation.json`; return the files' paths.

    Files that an interrupted run of the same configuration, seed and sizes left are kept; a folder with another
    simulation in it is refused. `events_per_file`: by `events_in_a_file` where it is not given. first: number of the
    first electron of the endless sequence. settings: columns that every electron gets. Raises UserError.
    """
    events_per_file = events_in_a_file(config) if events_per_file is None else events_per_file
    if events < 1 or events_per_file < 1 or workers < 1:
        raise UserError("events, events per file and workers must be at least 1")
    manifest = {"config": config.to_dict(), "seed": seed, "events": events, "events_per_file": events_per_file}
    manifest |= {"first": first, "settings": dict(settings or {})} if settings or first else {}
    _claim(output_dir, manifest)
    planned = shards(output_dir, events, events_per_file, first, settings)
    missing = [shard for shard in planned if not shard.path.exists()]
    attributes = _attributes(config, seed)
    with progress_bar() as bar:
        task = bar.add_task("simulating", total=events, unit="electrons")
        bar.advance(task, events - sum(shard.count for shard in missing))
        refused: Counter[Fate] = Counter()
        for shard_count, shard_refused in _write_all(config, seed, missing, attributes, workers):
            bar.advance(task, shard_count)
            refused.update(shard_refused)
    if refused:
        reasons = ", ".join(f"{number} {WORDS[fate]}" for fate, number in refused.most_common())
        print(f"{refused.total()} draws were refused and drawn again: {reasons}")
    return [shard.path for shard in planned]


def _attributes(config: SimulationConfig, seed: int) -> dict[str, Any]:
    """Return what every file carries in `DataFrame.attrs`."""
    return {
        "schema_version": schema.SCHEMA_VERSION,
        "sampling_rate_hz": config.readout.sampling_rate_hz,
        "lo_frequency_hz": config.readout.lo_frequency_hz,
        "created_by": f"cres {cres.__version__}",
        "git_commit": git_commit(),
        "config": json.dumps(config.to_dict(), sort_keys=True),
        "seed": seed,
    }


def _claim(output_dir: Path, manifest: dict[str, Any]) -> None:
    """Make the folder and its manifest; refuse a folder that holds other electrons."""
    path = output_dir / MANIFEST
    text = json.dumps(manifest, indent=2, sort_keys=True) + "\n"
    try:
        output_dir.mkdir(parents=True, exist_ok=True)
        if path.exists():
            if not _same(json.loads(path.read_text()), json.loads(text)):
                raise UserError(
                    f"{output_dir} holds electrons of another configuration, seed or number: "
                    "choose another --output or remove that folder"
                )
        elif any(output_dir.glob("electrons_*.pkl.gz")):
            raise UserError(f"{output_dir} holds electrons without {MANIFEST}: choose another --output")
        else:
            write_whole(path, text.encode())
    except (OSError, ValueError) as error:
        raise UserError(f"{output_dir} cannot be used for output ({error}): choose another --output") from error


def _same(found: dict[str, Any], wanted: dict[str, Any]) -> bool:
    """Whether two manifests mean the same electrons; keys that an older version did not know have their defaults."""
    try:
        known = found | {"config": SimulationConfig.from_dict(found["config"]).to_dict()}
    except (UserError, KeyError):
        return False
    return known == wanted


def _write_all(
    config: SimulationConfig, seed: int, missing: list[ShardPlan], attributes: dict[str, Any], workers: int
) -> Iterator[tuple[int, Counter[Fate]]]:
    if workers == 1 or len(missing) < 2:
        for shard in missing:
            yield write_shard(config, seed, shard, attributes)
        return
    with process_pool(workers, [__name__]) as pool:
        futures = [pool.submit(write_shard, config, seed, shard, attributes) for shard in missing]
        for future in as_completed(futures):
            yield future.result()


def write_shard(
    config: SimulationConfig, seed: int, shard: ShardPlan, attributes: dict[str, Any]
) -> tuple[int, Counter[Fate]]:
    """Simulate and write one file; return its number of electrons and of refused draws, by reason."""
    electrons, refused = draw_counted(config, shard.count, seed, shard.start)
    columns = simulate_columns(config, electrons)
    columns |= {name: np.full(shard.count, value) for name, value in shard.settings.items()}
    frame = pd.DataFrame({name: list(values) if values.ndim > 1 else values for name, values in columns.items()})
    frame.attrs.update(attributes | {"refused_draws": refused.total()})
    write_whole(shard.path, gzip.compress(pickle.dumps(frame, PICKLE_PROTOCOL), GZIP_LEVEL, mtime=0))
    return shard.count, refused
