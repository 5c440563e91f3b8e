"""Weighted samples of the posterior of each electron: the file in which they are kept, and what is read from it.

HDF5, electrons e, samples n: event_id (e,), energy_ev, pitch_angle_deg, radius_m and log_weight (e, n), and for readers
of other programs effective_samples, log_evidence and too_few (e,). Weights are those of a prior that is flat in energy
over the attribute prior_energy_ev, isotropic and uniform in area: ln w = ln (prior × likelihood ratio) − ln proposal.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import h5py
import numpy as np
from numpy.typing import NDArray

from cres.errors import UserError
from reconstruction.files import atomic_path

Array = NDArray[np.float64]

VALUES: Final = ("energy_ev", "pitch_angle_deg", "radius_m")
LOG_WEIGHT: Final = "log_weight"
TOO_FEW: Final = 20.0
"""With fewer effective samples an electron's samples do not stand for its posterior."""
FORMAT: Final = 1
PRIOR_ENERGY: Final = "prior_energy_ev"
_TRUE: Final = "true_"


@dataclass(frozen=True, eq=False)
class WeightedSamples:
    """`values` (e, n) by the names of VALUES, `log_weight` (e, n), `truth` (e,) by the same names where known."""

    event_id: NDArray[np.int64]
    values: Mapping[str, Array]
    log_weight: Array
    truth: Mapping[str, Array] = field(default_factory=dict)
    attributes: Mapping[str, Any] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.event_id)

    @cached_property
    def weights(self) -> Array:
        """Weights (e, n) that sum to 1; 0 for an electron of which no sample is possible."""
        highest = self.log_weight.max(axis=1, keepdims=True)
        raised = np.exp(self.log_weight - np.where(np.isfinite(highest), highest, 0.0))
        return np.asarray(raised / np.maximum(raised.sum(axis=1, keepdims=True), 1e-300))

    @property
    def effective_samples(self) -> Array:
        """Number of equally weighted samples that know as much, (e,): (Σw)²/Σw²."""
        return np.asarray(self.weights.sum(axis=1) / np.maximum((self.weights**2).sum(axis=1), 1e-300))

    @property
    def efficiency(self) -> Array:
        """Effective samples over samples, (e,)."""
        return self.effective_samples / self.log_weight.shape[1]

    @property
    def too_few(self) -> NDArray[np.bool_]:
        """Electrons whose samples do not stand for their posterior, (e,)."""
        return self.effective_samples < TOO_FEW

    @property
    def log_evidence(self) -> Array:
        """Logarithm of the mean weight, (e,): of the likelihood ratio against noise alone, averaged over the prior."""
        return np.asarray(np.logaddexp.reduce(self.log_weight, axis=1) - np.log(self.log_weight.shape[1]))

    @property
    def prior_energy_ev(self) -> tuple[float, float] | None:
        """Ends of the window over which the prior is flat; None where a file does not say. Raises UserError."""
        if PRIOR_ENERGY not in self.attributes:
            return None
        stated = str(self.attributes[PRIOR_ENERGY])
        try:
            low, high = (float(end) for end in json.loads(stated))
        except (ValueError, TypeError) as error:  # no JSON, or not two numbers
            raise UserError(f"weighted samples state {PRIOR_ENERGY} as {stated!r}: it is [low, high] in eV") from error
        return low, high

    def below(self, name: str, value: Array) -> Array:
        """Return the probability below a value (e,) of a quantity, (e,): a sample of its weight counts half at it."""
        apart = self.values[name] - value[:, None]
        return np.asarray((self.weights * ((apart < 0) + 0.5 * (apart == 0))).sum(axis=1))

    def quantiles(self, name: str, levels: Sequence[float]) -> Array:
        """Return quantiles of a quantity, (e, level): linear between samples, each in the middle of its weight."""
        order = np.argsort(self.values[name], axis=1)
        values = np.take_along_axis(self.values[name], order, axis=1)
        weights = np.take_along_axis(self.weights, order, axis=1)
        reached = np.cumsum(weights, axis=1) - weights / 2
        found = np.full((len(self), len(levels)), np.nan)
        for row, counted in enumerate(weights > 0):
            if counted.any():
                found[row] = np.interp(levels, reached[row, counted], values[row, counted])
        return found

    def rows(self, event_id: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the row of each event, −1 where there is none."""
        order = np.argsort(self.event_id)
        at = np.minimum(np.searchsorted(self.event_id[order], event_id), max(len(self) - 1, 0))
        found = order[at] if len(self) else np.zeros(len(event_id), np.int64)
        return np.where(len(self) and self.event_id[found] == event_id, found, -1)

    def write(self, path: Path | str) -> Path:
        """Write the file, whole or not at all. Raises UserError when it cannot be written."""
        path = Path(path)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with atomic_path(path) as temporary, h5py.File(temporary, "w") as file:
                file["event_id"] = self.event_id
                for name in VALUES:
                    file[name] = self.values[name]
                file[LOG_WEIGHT] = self.log_weight
                for name in ("effective_samples", "log_evidence", "too_few"):
                    file[name] = getattr(self, name)
                for name, truth in self.truth.items():
                    file[_TRUE + name] = truth
                file.attrs.update({"format": FORMAT, **self.attributes})
        except OSError as error:
            raise UserError(f"cannot write {path}: {error.strerror or error}") from error
        return path

    @classmethod
    def read(cls, path: Path | str) -> WeightedSamples:
        """Read a file. Raises UserError for one that is missing, damaged, or of something else."""
        try:
            with h5py.File(path, "r", locking=False) as file:
                missing = [name for name in ("event_id", *VALUES, LOG_WEIGHT) if name not in file]
                if missing:
                    raise UserError(
                        f"{path} holds no weighted samples (no {missing[0]}): make some with scripts/posterior.py"
                    )
                truth = {name: np.asarray(file[_TRUE + name][...]) for name in VALUES if _TRUE + name in file}
                held = {name: np.asarray(file[name][...], np.float64) for name in (*VALUES, LOG_WEIGHT)}
                event_id, attributes = np.asarray(file["event_id"][...], np.int64), dict(file.attrs)
        except (OSError, RuntimeError) as error:
            raise UserError(f"{path} cannot be read as weighted samples: {error}") from error
        log_weight = held.pop(LOG_WEIGHT)
        for name, values in held.items():
            if values.ndim != 2 or values.shape != log_weight.shape or len(values) != len(event_id):
                raise UserError(
                    f"{path} holds {name} of shape {values.shape} beside weights of shape {log_weight.shape} of "
                    f"{len(event_id)} electrons"
                )
            if not np.isfinite(values).all():
                raise UserError(f"{path} holds {name} that are not finite")
        if np.isnan(log_weight).any() or (log_weight == np.inf).any():
            raise UserError(f"{path} holds weights that are NaN or infinite")
        if len(np.unique(event_id)) < len(event_id):
            raise UserError(f"{path} names an event twice")
        return cls(event_id, held, log_weight, truth, attributes)
