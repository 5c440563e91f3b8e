"""Samples of a search: a folder of files each, the columns that the search adds, and a manifest of all of them.

Every number of an event is made from its own identity: neither order nor workers change masses or folds.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import h5py
import numpy as np
import torch
from numpy.typing import NDArray

from collider.generation.files import COUNTED, AddedColumns, SampleFile, files_of
from collider.generation.pieces import Columns
from collider.higgs.making.config import FB_PER_PB, HiggsConfig, Point
from collider.higgs.making.processes import BACKGROUNDS, CLASSES, SIGNAL, sample_name
from reconstruction.errors import UserError
from reconstruction.files import write_whole
from reconstruction.random.keyed import KeyedRandom

MANIFEST: Final = "samples.json"
BACKGROUND: Final = "background"
"""Role of the samples that belong to all masses."""
MASSES: Final = ("mass_charged_higgs_gev", "mass_a_gev")
STEM: Final = "events"


def drawn_points(event_id: NDArray[np.int64], points: Sequence[Point], seed: int = 0) -> NDArray[np.float64]:
    """Return a mass point (event, 2) in GeV for each event, all points alike: the signal's prior, for backgrounds.

    Baldi et al., arXiv:1601.07913: a network that is told the mass must not know from it which class an event is of.
    """
    return np.asarray(points, dtype=np.float64)[_places(event_id, len(points), f"mass/{seed}")]


def folds_of(event_id: NDArray[np.int64], folds: int) -> NDArray[np.int8]:
    """Return the fold of each event, from 0 to folds − 1; it is a matter of the event's identity alone."""
    return _places(event_id, folds, "fold").astype(np.int8)


def _places(event_id: NDArray[np.int64], count: int, stream: str) -> NDArray[np.int64]:
    """Return a number from 0 to count − 1 for each event, all alike."""
    random = KeyedRandom(0, 0, torch.from_numpy(np.asarray(event_id, dtype=np.int64)), scope="collider.higgs")
    drawn = random.uniform(1, stream=stream).numpy()[:, 0].astype(np.float64)
    return np.minimum((drawn * count).astype(np.int64), count - 1)


@dataclass(frozen=True)
class HiggsColumns(AddedColumns):
    """Columns of a search: class, masses, weight and fold.

    class_name: of CLASSES. points: the masses of a signal, or those from which a background draws. share: of the
    sample's events that are in the file, so that the weights of all files together sum to what is expected.
    """

    class_name: str
    points: tuple[Point, ...]
    luminosity_fb: float
    folds: int
    share: float
    seed: int

    def columns(self, made: Columns) -> Columns:
        """Return the columns. Raises UserError for weights that are negative: no event can be learned with them."""
        weight = made["weight_pb"] * (self.luminosity_fb * FB_PER_PB * self.share)
        wrong = np.flatnonzero(~(weight >= 0))
        if len(wrong):
            raise UserError(
                f"event {wrong[0]} of the {self.class_name} sample has the weight {made['weight_pb'][wrong[0]]:g} pb: "
                "a network learns with weights of 0 or more only; use a generator without negative weights"
            )
        if not weight.sum() > 0:
            raise UserError(f"the weights of the {self.class_name} sample sum to zero: its events stand for nothing")
        ids = made["event_id"]
        masses = drawn_points(ids, self.points, self.seed)
        return {
            "class": np.full(len(ids), CLASSES.index(self.class_name), dtype=np.int8),
            **dict(zip(MASSES, masses.T, strict=True)),
            "weight": weight,
            "fold": folds_of(ids, self.folds),
        }

    def facts(self) -> dict[str, Any]:
        """Return what the columns were made with."""
        return {
            "classes": json.dumps(CLASSES),
            "class": self.class_name,
            "points_gev": json.dumps(self.points),
            "luminosity_fb": self.luminosity_fb,
            "folds": self.folds,
            "share_of_sample": self.share,
        }


@dataclass(frozen=True)
class HiggsSample:
    """A sample: its name, what it is for, its masses where it has its own, and its files."""

    name: str
    role: str
    point: Point | None
    files: tuple[SampleFile, ...]

    @property
    def class_name(self) -> str:
        """Which class its events are of."""
        return self.name if self.point is None else SIGNAL

    @property
    def events(self) -> int:
        """How many events it has."""
        return sum(file.stop - file.start for file in self.files)


def samples_of(
    config: HiggsConfig, events: int, background_events: int, folder: Path, events_per_file: int
) -> list[HiggsSample]:
    """Return the samples of a search: signals of so many events, or of as many as their role has, and backgrounds."""
    made = []
    for point, role in config.role_of.items():
        count = config.events.get(role, events)
        files = _files(config, config.generation(config.signal(point)), count, folder, events_per_file, (point,))
        made.append(HiggsSample(sample_name(*point), role, point, files))
    processes = config.processes()
    for name in BACKGROUNDS:
        generation = config.generation(processes[name])
        files = _files(config, generation, background_events, folder, events_per_file, config.prior_points)
        made.append(HiggsSample(name, BACKGROUND, None, files))
    return made


def _files(
    config: HiggsConfig, generation: Any, count: int, folder: Path, events_per_file: int, points: tuple[Point, ...]
) -> tuple[SampleFile, ...]:
    name = generation.process.name
    made = []
    for file in files_of(generation, count, folder / name, events_per_file, STEM):
        share = (file.stop - file.start) / count
        class_name = name if name in BACKGROUNDS else SIGNAL
        added = HiggsColumns(class_name, points, config.luminosity_fb, config.folds, share, config.seed)
        made.append(SampleFile(file.config, file.start, file.stop, file.path, added))
    return tuple(made)


def missing_files(samples: Sequence[HiggsSample]) -> list[Path]:
    """Return the files that are not there yet."""
    return [file.path for sample in samples for file in sample.files if not file.path.exists()]


def write_manifest(config: HiggsConfig, samples: Sequence[HiggsSample], folder: Path) -> Path:
    """Write what the samples hold, when all files are there. Raises UserError for a file that cannot be read."""
    content = {
        "luminosity_fb": config.luminosity_fb,
        "classes": dict(zip(CLASSES, range(len(CLASSES)), strict=True)),
        "channels": list(config.channels),
        "folds": config.folds,
        "prior": [list(point) for point in config.prior_points],
        "samples": {sample.name: _entry(sample, folder) for sample in samples},
    }
    return write_whole(folder / MANIFEST, (json.dumps(content, indent=1) + "\n").encode())


def _entry(sample: HiggsSample, folder: Path) -> dict[str, Any]:
    facts = [_facts(file.path) for file in sample.files]
    masses = {} if sample.point is None else dict(zip(MASSES, sample.point, strict=True))
    return {
        "role": sample.role,
        "class": sample.class_name,
        **masses,
        "events": sample.events,
        **{name: sum(fact[name] for fact in facts) for name in COUNTED},
        "cross_section_pb": float(np.mean([fact["cross_section_pb"] for fact in facts])),
        "expected_events": float(sum(fact["expected_events"] for fact in facts)),
        "channels": {name: int(sum(fact["channels"][name] for fact in facts)) for name in facts[0]["channels"]},
        "files": [file.path.relative_to(folder).as_posix() for file in sample.files],
    }


def _facts(path: Path) -> dict[str, Any]:
    """Return what a file says of itself, its weights summed and its events counted by channel."""
    try:
        with h5py.File(path, "r", locking=False) as file:
            names = json.loads(str(file.attrs["channels"]))
            counts = np.bincount(np.asarray(file["channel"][()], dtype=np.int64), minlength=len(names))
            return {
                **{name: int(file.attrs[name]) for name in COUNTED},
                "cross_section_pb": float(file.attrs["cross_section_pb"]),
                "expected_events": float(np.sum(file["weight"][()])),
                "channels": dict(zip(names, counts.tolist(), strict=True)),
            }
    except (OSError, KeyError, ValueError) as error:
        raise UserError(f"{path} is no file of this search ({error}): remove it and run again") from error
