"""The predictions table: one row a row, written by every estimator, learned or not.

Evaluation and endpoint read nothing else. Column names come from `cres.schema`; values are float64, int64 or bool.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from reconstruction import schema
from reconstruction.errors import UserError
from reconstruction.files import atomic_path
from reconstruction.judging.tables.columns import BOUND, COVARIANCE, ESTIMATE, EVENT_ID, SYSTEM, JudgedColumns, Values
from reconstruction.judging.tables.joins import common_rows
from reconstruction.judging.tables.splits import described_split
from reconstruction.judging.tables.stored import flat_columns, read_columns, write_columns
from reconstruction.provenance import package_ancestry as ancestry
from reconstruction.system import System, find_system

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, eq=False)
class PredictionTable(JudgedColumns):
    """Estimates of an estimator for a set of rows.

    `columns` holds arrays of one length: `event_id` (int64, unique), for each target its estimate (`energy_ev`),
    if known its standard deviation (`energy_std_ev`) and truth (`true_energy_ev`), `covariance` (rows, t, t) in the
    order of `targets`, `split` (codes of `schema.SPLITS`), observables (`avg_axial_frequency_hz`, `sideband_snr`, …)
    and flags (bool). `attributes` holds `targets`, `estimator` (the display name), `kind` ("estimate", or "bound" for a
    table whose standard deviations are the Cramér–Rao bound), `split` in words, `learned`, `apparatus` (what the
    records look like), `apparatus_warning`, `checkpoint_hash`, `seconds_per_electron` and the ancestry. Raises
    UserError when the columns do not fit together.
    """

    columns: dict[str, Values]
    attributes: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "columns", {name: _as_stored(name, v) for name, v in self.columns.items()})
        attributes = dict(self.attributes)
        known = attributes.get("targets")
        attributes["targets"] = [
            schema.prediction_name(t) for t in (_inferred(self.columns) if known is None else known)
        ]
        attributes.setdefault("estimator", "estimator")
        attributes.setdefault("kind", ESTIMATE)
        if schema.SPLIT in self.columns:
            attributes[schema.SPLIT] = described_split(self.columns[schema.SPLIT])
        object.__setattr__(self, "attributes", attributes)
        _check(self)

    @classmethod
    def from_estimates(
        cls,
        event_id: Values,
        estimates: Mapping[str, Values],
        *,
        estimator: str,
        std: Mapping[str, Values] | None = None,
        covariance: Values | None = None,
        truth: Mapping[str, Values] | None = None,
        observables: Mapping[str, Values] | None = None,
        kind: Literal["estimate", "bound"] = "estimate",
        seconds_per_electron: float | None = None,
        checkpoint_hash: str | None = None,
        config: Mapping[str, Any] | None = None,
        seed: int | None = None,
        sources: Iterable[Path] = (),
        system: System | None = None,
    ) -> PredictionTable:
        """Make a table from arrays of shape (rows,), named by the columns on disk or in lower case.

        `estimates`, `std` and `truth` are keyed by target (`energy_eV`); the order of `estimates` is the order of
        `targets` and of `covariance` (rows, t, t). Standard deviations that are not given are taken from the
        covariance. Anything else goes to `observables`: true start values among them (`radius_m`, or a target's
        own name) are stored as truth. `config`, `seed`, `sources` become the ancestry. `system`: whose rows these are.
        """
        system = find_system() if system is None else system
        targets = [schema.prediction_name(name) for name in estimates]
        columns: dict[str, Values] = {EVENT_ID: np.asarray(event_id)}
        columns |= {schema.prediction_name(name): np.asarray(values) for name, values in estimates.items()}
        columns |= {schema.std_name(name): np.asarray(values) for name, values in (std or {}).items()}
        if covariance is not None:
            columns[COVARIANCE] = np.asarray(covariance)
            diagonal = np.sqrt(np.diagonal(columns[COVARIANCE], axis1=1, axis2=2))
            for i, target in enumerate(targets):
                columns.setdefault(schema.std_name(target), diagonal[:, i])
        columns |= {schema.truth_name(name): np.asarray(values) for name, values in (truth or {}).items()}
        for name, values in (observables or {}).items():
            columns.setdefault(_observable_name(name, targets, system), np.asarray(values))
        attributes = {"targets": targets, "estimator": estimator, "kind": kind, SYSTEM: system.name}
        attributes |= ancestry(config, seed, sources)
        optional = {"seconds_per_electron": seconds_per_electron, "checkpoint_hash": checkpoint_hash}
        return cls(columns, attributes | {name: value for name, value in optional.items() if value is not None})

    def select(self, rows: Values) -> PredictionTable:
        """Return a table of some rows: a boolean mask (rows,) or indices."""
        return PredictionTable({name: values[rows] for name, values in self.columns.items()}, self.attributes)

    def with_columns(self, extra: Mapping[str, Values]) -> PredictionTable:
        """Return a table with more columns of the same length."""
        return PredictionTable({**self.columns, **extra}, self.attributes)

    def with_attributes(self, extra: Mapping[str, Any]) -> PredictionTable:
        """Return a table with more attributes, or other values of those that it has."""
        return PredictionTable(self.columns, {**self.attributes, **extra})

    def renamed(self, estimator: str) -> PredictionTable:
        """Return the same table under another display name."""
        return PredictionTable(self.columns, {**self.attributes, "estimator": estimator})

    def join(self, *others: PredictionTable) -> list[PredictionTable]:
        """Return [self, *others] reduced to their common rows, rows in one order (sorted by event id).

        Raises UserError when there is none, or when one id has two truths (tables of different simulations).
        """
        return common_rows([self, *others])

    def write(self, path: Path | str) -> Path:
        """Write HDF5, one dataset a column with its unit; a reader sees the old file or the whole new one."""
        write_columns(Path(path), self.columns, self.attributes)
        return Path(path)

    @classmethod
    def read(cls, path: Path | str) -> PredictionTable:
        """Read a table written by `write`; raises UserError for anything else."""
        columns, attributes = read_columns(Path(path))
        try:
            return cls(columns, attributes)
        except UserError as error:
            raise UserError(f"{path}: {error}") from error

    def to_frame(self) -> pd.DataFrame:
        """Return a DataFrame; the upper triangle of the covariance as `covariance_<target>_<target>`."""
        return flat_columns(self.columns, self.targets)

    def to_csv(self, path: Path | str) -> Path:
        """Write CSV with all digits, atomically."""
        with atomic_path(Path(path)) as temporary:
            self.to_frame().to_csv(temporary, index=False)
        return Path(path)


def _observable_name(name: str, targets: Sequence[str], system: System) -> str:
    lower = schema.prediction_name(name)
    is_truth = lower in targets or name in system.truths
    return schema.truth_name(name) if is_truth else lower


def _as_stored(name: str, values: Values) -> Values:
    array = np.asarray(values)
    if array.dtype == np.bool_:
        return array
    if np.issubdtype(array.dtype, np.integer):
        return array.astype(np.int64)
    if np.issubdtype(array.dtype, np.floating):
        return array.astype(np.float64)
    raise UserError(f"column {name!r} holds {array.dtype}; a predictions table holds numbers and flags only")


def _inferred(columns: Mapping[str, Values]) -> list[str]:
    """Return the columns that have a standard deviation or a truth, for tables that do not name their targets."""
    return [name for name in columns if schema.truth_name(name) in columns or schema.std_name(name) in columns]


def _check(table: PredictionTable) -> None:
    columns = table.columns
    if EVENT_ID not in columns:
        raise UserError(f"a predictions table needs the column {EVENT_ID!r}; found {', '.join(columns) or 'none'}")
    if columns[EVENT_ID].dtype != np.int64 or columns[EVENT_ID].ndim != 1:
        raise UserError(f"the column {EVENT_ID!r} must hold one integer a row")
    rows = len(columns[EVENT_ID])
    for name, values in columns.items():
        if values.ndim == 0 or len(values) != rows:
            raise UserError(f"column {name!r} has shape {values.shape} where the table has {rows} rows")
    missing = [target for target in table.targets if target not in columns]
    if missing or not table.targets:
        wanted = ", ".join(missing) or "an estimate (energy_ev with true_energy_ev or energy_std_ev)"
        raise UserError(f"the predictions table has no column {wanted}; it has {', '.join(columns)}")
    if len(np.unique(columns[EVENT_ID])) != rows:
        raise UserError("an event_id occurs twice in the predictions table: were rows predicted twice?")
    count = len(table.targets)
    if COVARIANCE in columns and columns[COVARIANCE].shape != (rows, count, count):
        raise UserError(f"covariance has shape {columns[COVARIANCE].shape}, expected {(rows, count, count)}")
    if schema.SPLIT in columns and not np.isin(columns[schema.SPLIT], list(schema.SPLITS.values())).all():
        raise UserError(f"column {schema.SPLIT!r} holds other codes than {schema.SPLITS}")
    if table.attributes["kind"] not in (ESTIMATE, BOUND):
        raise UserError(f"attribute 'kind' is {table.attributes['kind']!r}, expected 'estimate' or 'bound'")
