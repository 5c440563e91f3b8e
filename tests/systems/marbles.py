"""A system whose rows are of kinds: two measured numbers → which of three kinds of marble it is.

The kinds are Gaussians around three places, so that the right probabilities are known (`right_probabilities`). What is
not said here is that of `straight_lines`.
"""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
from straight_lines import PointFile, PointRows, PointsDataModule, PointsView

from reconstruction.models import Loss
from reconstruction.system import Column, Judging, System
from reconstruction.training.learning.learner import CalibrationMethod, Learner
from reconstruction.training.learning.optimiser import Optimiser
from reconstruction.training.network.corruption import Corruption
from reconstruction.training.network.reconstructor import EncoderFactory, HeadFactory, build_reconstructor

PLACES = {7: (0.0, 0.0), 8: (1.5, 0.0), 40: (0.0, 2.5)}
"""Code of each kind → the middle of what is measured of it, in mm."""


class MarbleFile(PointFile):
    """One file: x_mm and y_mm (rows, 1)."""


class MarblesDataModule(PointsDataModule):
    """Marbles of files."""

    system_name = "marbles"

    def apparatus_facts(self) -> dict[str, float]:
        return {}

    def dataset(self, rows: np.ndarray, training: bool = False) -> PointRows:
        return MarbleRows(self.chosen(rows))


class MarbleRows(PointRows):
    """Batches without masks: every marble is one point."""

    def __getitems__(self, draws):
        batch = super().__getitems__(draws)
        return {name: part for name, part in batch.items() if name != "masks"}


class MarblesModule(Learner):
    """Learns kinds.

    Args:
        targets: What is estimated; linked from the data.
        encoders: One encoder, "points".
        head: Head.
        loss: Loss.
        optimiser: Learning rates.
        calibration: How probabilities are made honest.
        seed: Seed of the training.
        noise_seed: Seed of what judges.

    """

    system_name = "marbles"

    def __init__(
        self,
        targets: tuple[str, ...],
        encoders: dict[str, EncoderFactory],
        head: HeadFactory,
        loss: Loss | None = None,
        optimiser: Optimiser = Optimiser(),
        calibration: CalibrationMethod = "coverage",
        seed: int = 0,
        noise_seed: int = 0,
    ) -> None:
        made = build_reconstructor({}, targets, {"points": PointsView}, encoders, head)
        super().__init__(
            made, Corruption(), loss, optimiser=optimiser, calibration=calibration, seed=seed, noise_seed=noise_seed
        )


SYSTEM = System(
    name="marbles",
    noun="marble",
    nouns="marbles",
    columns={
        "kind": Column("kind", "", "int64", 0.0, 100.0, "code of its kind", "kind"),
        "weight_g": Column("weight_g", "g", "float64", 0.0, 100.0, "weight", "weight"),
    },
    truths=("kind",),
    module="marbles.MarblesModule",
    data="marbles.MarblesDataModule",
    judging=Judging(covariates={"weight_g": None}),
)


def right_probabilities(points: np.ndarray) -> np.ndarray:
    """Return the probability of each kind (rows, 3) of points (rows, 2): all are equally frequent."""
    log = -0.5 * ((points[:, None] - np.array(list(PLACES.values()))) ** 2).sum(-1)
    shares = np.exp(log - log.max(1, keepdims=True))
    return shares / shares.sum(1, keepdims=True)


def write(path: Path, rows: int = 2400, seed: int = 0) -> Path:
    """Write marbles with their kinds."""
    random = np.random.default_rng(seed)
    kind = random.choice(list(PLACES), rows)
    points = np.array([PLACES[one] for one in kind.tolist()]) + random.normal(size=(rows, 2))
    with h5py.File(path, "w") as file:
        file["x_mm"], file["y_mm"] = points[:, :1], points[:, 1:]
        file["points"], file["kind"] = np.ones(rows, np.int64), kind
        file["weight_g"], file["event_id"] = random.uniform(1, 9, rows), np.arange(rows) + 100_000 * seed
    return path
