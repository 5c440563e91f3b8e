"""A system in a hundred lines: points on a straight line, some of them missing → its slope and its offset.

It stands for what a stranger writes to use the core: his columns with units, how his rows are read, what is done to
them, and how far off is another apparatus. `write` makes a file of it.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import h5py
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from cres.transforms import KeyedRandom, RandomTransform
from reconstruction.models.conditioning.context import ConditionOptions
from reconstruction.models.encoders.views import RecordView, View
from reconstruction.records.batch import Batch, masks_from
from reconstruction.records.loader import ChosenRows
from reconstruction.records.rows import RowsDataModule
from reconstruction.records.stored import content_hashes_of, place_of_row
from reconstruction.system import Column, Goal, Group, Judging, System
from reconstruction.training.learning.learner import CalibrationMethod, Learner
from reconstruction.training.learning.optimiser import Optimiser
from reconstruction.training.network.corruption import Corruption, Link
from reconstruction.training.network.reconstructor import EncoderFactory, HeadFactory, build_reconstructor
from reconstruction.training.schedules import Schedule

POINTS = 12


@dataclass(frozen=True)
class PointFile:
    """One file: x_mm and y_mm (rows, points), of which `points` are real."""

    path: Path
    held: dict[str, np.ndarray]
    attributes: dict[str, Any]

    @classmethod
    def read(cls, path: Path) -> PointFile:
        with h5py.File(path) as file:
            return cls(path, {name: file[name][()] for name in file}, dict(file.attrs))


class PointFiles:
    """Several files as one."""

    def __init__(self, paths: list[Path]) -> None:
        self.files = [PointFile.read(path) for path in paths]
        first = self.files[0]
        self.held = {name: np.concatenate([file.held[name] for file in self.files]) for name in first.held}
        self.columns = tuple(self.held)
        self.scalar_columns = tuple(name for name, values in self.held.items() if values.ndim == 1)
        self.event_ids = self.held["event_id"]
        self.starts = np.cumsum([0, *(len(file.held["event_id"]) for file in self.files)])
        self.points = np.stack([self.held["x_mm"], self.held["y_mm"]], axis=-1).astype(np.float32)

    def __len__(self) -> int:
        return len(self.event_ids)

    def content_hashes(self) -> np.ndarray:
        return content_hashes_of(self.points)

    def scalar(self, name: str) -> np.ndarray:
        return self.held[name]

    def describe(self, row: int) -> str:
        file, place = place_of_row(self.starts, row)
        return f"{self.files[file].path} row {place}"


class PointRows(ChosenRows):
    def read(self, rows: np.ndarray) -> Batch:
        points, taken = self.chosen.records.points[rows], self.chosen.records.scalar("points")[rows]
        return {
            "inputs": {"points": torch.from_numpy(points)},
            "masks": masks_from("points", torch.from_numpy(taken), POINTS),
        }


class PointsDataModule(RowsDataModule):
    """Lines of files."""

    system_name = "straight_lines"

    def __init__(
        self,
        data: str | list[str] = "lines.hdf5",
        targets: tuple[str, ...] = ("offset_mm", "slope"),
        batch_size: int = 64,
        fractions: tuple[float, float, float] = (0.6, 0.2, 0.2),
        seed: int = 0,
        split: Literal["event", "file"] = "event",
        split_seed: int | None = None,
        balanced: bool = False,
        only: tuple[str, ...] = (),
    ) -> None:
        self.balanced, self.only = balanced, tuple(only)
        super().__init__(data, targets, None, batch_size, fractions, seed, split, split_seed, 0, None)

    def open(self) -> PointFiles:
        return PointFiles([Path(path) for path in ([self.data] if isinstance(self.data, str) else self.data)])

    def dataset(self, rows: np.ndarray, training: bool = False) -> Dataset[Batch]:
        return PointRows(self.chosen(rows))

    def apparatus_facts(self) -> dict[str, Any]:
        return {"error_mm": float(self.records.files[0].attributes["error_mm"])}


class PointsView(RecordView):
    reads, channels, scalar_count = "points", 2, 0

    def forward(self, series: Tensor) -> View:
        return View(series, series.new_zeros(len(series), 0))

    def lengths(self, lengths: Tensor, samples: int, positions: int) -> Tensor:
        return lengths


class Blur(RandomTransform):
    """Shift every y by the error of its measurement."""

    def __init__(self, error_mm: float) -> None:
        super().__init__()
        self.error_mm = error_mm

    def forward(self, series: Tensor, random: KeyedRandom, scale: float | Tensor = 1.0) -> Tensor:
        shift = self.error_mm * scale**0.5 * random.normal(series.shape[1], 1, stream="blur")
        return series + torch.cat([torch.zeros_like(shift), shift], dim=-1)


class PointsModule(Learner):
    """Learns lines.

    Args:
        error_mm: Error of a point; linked from the data.
        targets: What is estimated; linked from the data.
        encoders: One encoder, "points".
        head: Head.
        optimiser: Learning rates.
        calibration: How error bars are made honest.
        schedule: Shape of the learning rate.
        seed: Seed of the blur in training.
        noise_seed: Seed of the blur that judges.
        condition: Settings of the chamber that the model is told.

    """

    system_name = "straight_lines"

    def __init__(
        self,
        error_mm: float,
        targets: tuple[str, ...],
        encoders: dict[str, EncoderFactory],
        head: HeadFactory,
        optimiser: Optimiser = Optimiser(),
        calibration: CalibrationMethod = "coverage",
        schedule: Schedule | None = None,
        seed: int = 0,
        noise_seed: int = 0,
        condition: ConditionOptions | None = None,
    ) -> None:
        super().__init__(
            build_reconstructor(
                {"error_mm": error_mm}, targets, {"points": PointsView}, encoders, head, condition=condition
            ),
            Corruption(Link(Blur(error_mm), "points")),
            optimiser=optimiser,
            schedule=schedule,
            calibration=calibration,
            seed=seed,
            noise_seed=noise_seed,
        )


class Chamber:
    """Lines of another chamber have other heights."""

    def measure(self, inputs: Any, data: Any, rows: Any) -> dict[str, Any]:
        return {"height_mm": float(inputs["points"][..., 1].std())}

    def differences(self, found: Any, known: Any, any_length: bool = False) -> list[str]:
        now, then = found["height_mm"], known["height_mm"]
        return [] if abs(now / then - 1) < 0.3 else [f"heights of {now:.2g} mm ({then:.2g} mm in training)"]

    def advice(self, found: Any, known: Any, any_length: bool = False) -> str:
        return "train a model for this chamber"


SYSTEM = System(
    name="straight_lines",
    noun="line",
    nouns="lines",
    columns={
        "offset_mm": Column("offset_mm", "mm", "float64", -1e3, 1e3, "height at x = 0", "offset"),
        "slope": Column("slope", "", "float64", -10.0, 10.0, "height gained a length", "slope"),
    },
    truths=("offset_mm", "slope"),
    module="straight_lines.PointsModule",
    data="straight_lines.PointsDataModule",
    facts=("error_mm",),
    must_agree={"error_mm": ("error of a point", "mm")},
    apparatus=Chamber(),
    judging=Judging(
        groups=(Group("long", "points", 8.0, "track of 8 points or more", "short ones have no lever"),),
        goals={"offset_mm": Goal(near=0.5, rms=0.1)},
    ),
)


def write(
    path: Path,
    rows: int = 1500,
    seed: int = 0,
    height: float = 1.0,
    error_mm: float = 0.2,
    stretch: float | tuple[float, ...] | None = None,
) -> Path:
    """Write lines with their truth; a chamber that stretches shows their heights so much larger, and says so."""
    random = np.random.default_rng(seed)
    x, taken = np.sort(random.uniform(-1, 1, (rows, POINTS)), axis=1), random.integers(4, POINTS + 1, rows)
    offset, slope = height * random.uniform(-2, 2, rows), height * random.uniform(-2, 2, rows)
    real = np.arange(POINTS) < taken[:, None]
    x = np.where(real, random.permuted(x, axis=1), 0.0)
    larger = random.choice(np.atleast_1d(1.0 if stretch is None else stretch), rows)
    y = np.where(real, larger[:, None] * (offset[:, None] + slope[:, None] * x), 0.0)
    with h5py.File(path, "w") as file:
        columns = {"x_mm": x, "y_mm": y, "points": taken}
        columns |= {} if stretch is None else {"stretch": larger}
        for name, values in (columns | {"offset_mm": offset, "slope": slope}).items():
            file[name] = values
        file["event_id"] = np.arange(rows) + 100_000 * seed
        file.attrs["error_mm"] = error_mm
    return path
