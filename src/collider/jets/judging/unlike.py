"""How unlike the training a jet is: its distance from the classes that were learned, in the encoder's features.

Mahalanobis distance to the nearest class mean with one covariance for all, Lee et al. 2018, arXiv:1807.03888, eq. 2.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import h5py
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from collider.generation.wheels import wheel
from collider.jets.judging.sources import JetRun, open_run
from collider.jets.learning.data import JetDataModule
from collider.jets.learning.module import JetModule
from collider.jets.making.classes import KINDS
from collider.jets.schema import CLASS
from reconstruction.errors import UserError
from reconstruction.files import atomic_path, write_whole
from reconstruction.judging.measures.bootstrap import Array, Figure, bootstrapped
from reconstruction.judging.measures.separation import DEFAULT_RESAMPLES, area_under_curve
from reconstruction.models.encoders.base import Encoder
from reconstruction.records.batch import Batch, masks_of

FILE: Final = "unlike"
KEPT: Final = 0.99
"""Share of the validation split that the threshold lets pass."""
FEWEST: Final = 20
"""Jets of each kind, below which an area under a curve says nothing."""


@dataclass(frozen=True)
class EmbeddingDistance:
    """Distance of features from the means of the learned classes, in units of their spread.

    means (class, feature); covariance (feature, feature) of the features about the mean of their class.
    """

    means: Array
    covariance: Array

    @classmethod
    def fit(cls, features: Array, classes: NDArray[Any]) -> EmbeddingDistance:
        """Learn features (jet, feature) of jets of classes (jet,), whose mean each has.

        The covariance is shrunk (Ledoit and Wolf 2004, doi:10.1016/S0047-259X(03)00096-4), so that few jets of many
        features have one. Raises UserError for fewer than two jets, and where scikit-learn is missing.
        """
        if len(features) < 2:
            raise UserError(
                f"a distance from what was learned needs two jets or more to learn from, not {len(features)}"
            )
        names, place = np.unique(classes, return_inverse=True)
        means = np.stack([features[place == number].mean(axis=0) for number in range(len(names))])
        shrunk = wheel("sklearn.covariance").LedoitWolf(assume_centered=True).fit(features - means[place])
        return cls(means, np.asarray(shrunk.covariance_, np.float64))

    def of(self, features: Array) -> Array:
        """Return the distance of each jet from the nearest mean, (jet,)."""
        whiten = np.linalg.cholesky(np.linalg.inv(self.covariance))
        away = features @ whiten
        squares = np.stack([((away - mean @ whiten) ** 2).sum(axis=1) for mean in self.means])
        return np.asarray(np.sqrt(squares.min(axis=0)))


@torch.no_grad()
def embedded(module: JetModule, batches: Iterable[Batch]) -> Array:
    """Return the encoder's features of jets, (jet, feature) float64.

    Those that the head reads; of a training without targets the mean of the particles': its pooling has not learned.
    """
    found = []
    for batch in batches:
        judged = module.judged(module.placed(batch))
        assert judged is not None
        inputs, masks = judged["inputs"], masks_of(judged)
        if module.regresses:
            parts = [one.features for one in module.reconstructor.standardised(inputs, masks).encoded.values()]
        else:
            parts = [_mean(module, name, inputs, masks) for name in module.reconstructor.fusion.encoders]
        found.append(torch.cat(parts, dim=1).double().cpu().numpy())
    return np.concatenate(found)


def _mean(module: JetModule, name: str, inputs: Any, masks: Any) -> Tensor:
    view, lengths = module.reconstructor.seen(name, inputs, masks)
    encoder = module.reconstructor.fusion.encoders[name]
    assert isinstance(encoder, Encoder)
    values = encoder.sequence(view.series, lengths).values
    count = torch.full_like(values[:, :1, 0], values.shape[1]) if lengths is None else lengths.clamp(min=1).unsqueeze(1)
    return values.sum(dim=1) / count.to(values.dtype)


@dataclass(frozen=True)
class UnlikeJets:
    """Distances of jets (jet,), which of them are new to the training, and the threshold that KEPT known jets pass."""

    event_id: NDArray[np.int64]
    code: NDArray[np.int64]
    """Of the class, −1 where it is not known."""
    new: NDArray[np.bool_]
    distance: Array
    threshold: float

    def areas(self, seed: int = 0) -> dict[str, Figure]:
        """Return the areas under the curves that tell new jets from known ones by their distance, by class and of all.

        Kinds of fewer than FEWEST jets are left out.
        """
        names = {kind.code: kind.name for kind in KINDS}
        kinds = {"all": self.new} | {
            names.get(code, "unknown"): self.new & (self.code == code)
            for code in np.unique(self.code[self.new]).tolist()
        }
        known, found = ~self.new, {}
        for name, mine in kinds.items():
            if min(mine.sum(), known.sum()) >= FEWEST:
                rows = mine | known
                found[name] = _area(self.distance[rows], mine[rows], seed)
        return found

    def beyond(self, rows: NDArray[np.bool_]) -> float:
        """Return the share of these jets that lie beyond the threshold."""
        return float(np.mean(self.distance[rows] > self.threshold)) if rows.any() else float("nan")


def _area(distance: Array, new: NDArray[np.bool_], seed: int) -> Figure:
    def statistics(weights: Array) -> Mapping[str, Array]:
        return {"auc": area_under_curve(distance, new, weights)}

    return bootstrapped(statistics, len(distance), DEFAULT_RESAMPLES, seed)["auc"]


def unlike_jets(run: JetRun, others: Sequence[str] = ()) -> UnlikeJets:
    """Return the distances of the run's test split, and of all jets of other files.

    New are jets of classes that the training left out, and all of the other files. Raises UserError where the run's
    files are gone, one of its splits is empty, or other files hold jets that it was trained on.
    """
    data, module = run.data, run.module
    split = data.split
    for name, rows in (("training", split.train), ("validation", split.validation), ("test", split.test)):
        if not len(rows):
            raise UserError(f"the {name} split of {run.folder} is empty: how unlike it jets are cannot be told")
    learned = _codes_of(data, split.train)
    measure = EmbeddingDistance.fit(embedded(module, data.rows_dataloader(split.train)), learned)
    threshold = np.quantile(measure.of(embedded(module, data.rows_dataloader(split.validation))), KEPT)
    code = _codes_of(data, split.test)
    parts = [(data, split.test, ~np.isin(code, np.unique(learned)))]
    if others:
        other = JetDataModule(list(others), targets=module.targets, particles=data.particles)
        rows = np.arange(len(other.records))
        _refuse_learned(data, other)
        parts.append((other, rows, np.ones(len(rows), dtype=bool)))
    return UnlikeJets(
        np.concatenate([part.records.event_ids[rows] for part, rows, _ in parts]),
        np.concatenate([_codes_of(part, rows) for part, rows, _ in parts]),
        np.concatenate([new for _, _, new in parts]),
        np.concatenate([measure.of(embedded(module, part.rows_dataloader(rows))) for part, rows, _ in parts]),
        float(threshold),
    )


def _refuse_learned(data: JetDataModule, other: JetDataModule) -> None:
    learned = data.records.content_hashes()[data.split.train]
    again = int(np.isin(other.records.content_hashes(), learned).sum())
    if again:
        raise UserError(
            f"{again} jets of {', '.join(map(str, other.data))} are jets that the run was trained on: name other "
            "files, or none to judge its test split"
        )


def _codes_of(data: JetDataModule, rows: NDArray[np.int64]) -> NDArray[np.int64]:
    if CLASS not in data.records.columns:
        return np.full(len(rows), -1, dtype=np.int64)
    return np.asarray(data.records.scalar(CLASS)[rows], dtype=np.int64)


def write_unlike(folder: Path, others: Sequence[Path], output: Path) -> str:
    """Write OUTPUT/unlike.hdf5 (event_id, jet_class, new, distance) and unlike.json, and return what they say."""
    found = unlike_jets(open_run(folder), [str(path) for path in others])
    with atomic_path(output / f"{FILE}.hdf5") as temporary, h5py.File(temporary, "w") as file:
        columns = {"event_id": found.event_id, CLASS: found.code, "new": found.new, "distance": found.distance}
        for name, values in columns.items():
            file[name] = values
        file.attrs["threshold"] = found.threshold
    areas = found.areas()
    shares = {"known": found.beyond(~found.new), "new": found.beyond(found.new)}
    kept: dict[str, Any] = {
        "threshold": found.threshold,
        "beyond": {name: share for name, share in shares.items() if np.isfinite(share)},
        "auc": {name: {"value": one.value, "error": (one.high - one.low) / 2} for name, one in areas.items()},
    }
    write_whole(output / f"{FILE}.json", (json.dumps(kept, indent=2) + "\n").encode())
    lines = [
        f"{(~found.new).sum()} jets like the training and {found.new.sum()} others, by their distance from what was "
        f"learned; {100 * KEPT:.0f} % of the validation split are within {found.threshold:.3g}",
        *(f"beyond it: {100 * share:.1f} % of the {name} jets" for name, share in kept["beyond"].items()),
        *(
            f"area under the curve, {name}: {one.value:.3f} ({one.low:.3f} to {one.high:.3f})"
            for name, one in areas.items()
        ),
    ]
    return "\n".join([*lines, f"all of it: {output / FILE}.hdf5, {output / FILE}.json"])
