"""The predictions table: one row a row, written by every estimator, learned or not.

Evaluation and endpoint read nothing else. Column names come from `cres.schema`; values are float64, int64 or bool.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import h5py
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from reconstruction import schema
from reconstruction.errors import UserError, nearest
from reconstruction.files import atomic_path as atomic_path
from reconstruction.judging.tables.splits import described_split
from reconstruction.provenance import package_ancestry as ancestry
from reconstruction.system import DEFAULT, System, find_system

EVENT_ID = schema.EVENT_ID
COVARIANCE = "covariance"
CLASSES = "classes"
"""Attribute of a table whose one target is a class: the code of each by its name."""
SYSTEM = "system"
"""Attribute of a table: whose rows these are; a table without it is of `cres`."""
SIDEBAND_SNR = "sideband_snr"
ESTIMATE = "estimate"
BOUND = "bound"
_SPLIT_TYPE = h5py.enum_dtype(schema.SPLITS, basetype="i1")  # the file itself then says what its codes mean
_UNITS = {
    unit.lower(): unit
    for unit in ("eV", "keV", "MeV", "GeV", "deg", "rad", "m", "cm", "mm", "X0", "s", "ns", "Hz", "V")
}
"""What a column's name ends with → the unit that it stands for."""

Values = NDArray[Any]


@dataclass(frozen=True, eq=False)
class PredictionTable:
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

    def __len__(self) -> int:
        return len(self.columns[EVENT_ID])

    def __contains__(self, name: object) -> bool:
        return name in self.columns

    @property
    def targets(self) -> tuple[str, ...]:
        """Names of the estimated quantities, in lower case."""
        return tuple(self.attributes["targets"])

    @property
    def estimator(self) -> str:
        """Display name."""
        return str(self.attributes["estimator"])

    @property
    def system(self) -> System:
        """Whose rows these are. Raises UserError for a system that is not there."""
        return find_system(str(self.attributes.get(SYSTEM, DEFAULT)))

    @property
    def is_bound(self) -> bool:
        """Whether the standard deviations are the Cramér–Rao bound and the estimates no estimates."""
        return bool(self.attributes["kind"] == BOUND)

    @property
    def event_id(self) -> NDArray[np.int64]:
        """Identities, (rows,)."""
        return self.columns[EVENT_ID]

    def column(self, name: str) -> Values:
        """Return a column by its name here or on disk; raises UserError with the nearest name."""
        lower = schema.prediction_name(name)
        if lower not in self.columns:
            raise UserError(
                f"the table of {self.estimator!r} has no column {lower!r}{nearest(lower, self.columns)}; "
                f"it has {', '.join(self.columns)}"
            )
        return self.columns[lower]

    def mean(self, target: str) -> Values:
        """Return the estimates of a target, (rows,)."""
        return self.column(target)

    def std(self, target: str) -> Values:
        """Return the stated standard deviations of a target, (rows,)."""
        return self.column(schema.std_name(target))

    def truth(self, target: str) -> Values:
        """Return the true values of a target, (rows,)."""
        return self.column(schema.truth_name(target))

    def interval95(self, target: str) -> tuple[Values, Values]:
        """Return the ends of the central 95.45 % of a target, (rows,) each; two error bars where it is not stated."""
        low, high = schema.interval95_names(target)
        if low in self.columns and high in self.columns:
            return self.column(low), self.column(high)
        return self.mean(target) - 2 * self.std(target), self.mean(target) + 2 * self.std(target)

    @property
    def classes(self) -> dict[str, int]:
        """The code of each class that the rows were told apart by; none where quantities are estimated."""
        stored = self.attributes.get(CLASSES, {})
        known: dict[str, int] = json.loads(stored) if isinstance(stored, str) else dict(stored)
        return known

    def probabilities(self) -> Values:
        """Return the stated probability of each class, (rows, class). Raises UserError where a column is missing."""
        return np.stack([self.column(schema.probability_name(name)) for name in self.classes], axis=1)

    def residual(self, target: str) -> Values:
        """Return estimate minus truth, (rows,)."""
        return self.mean(target) - self.truth(target)

    def has_std(self, target: str) -> bool:
        """Whether uncertainties of the target are in the table."""
        return schema.std_name(target) in self.columns

    def has_truth(self, target: str) -> bool:
        """Whether the truth of the target is in the table (not so for real data)."""
        return schema.truth_name(target) in self.columns

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
        tables = [self, *others]
        common = self.event_id
        for other in others:
            common = np.intersect1d(common, other.event_id)
        if others and not len(common):
            names = " and ".join(repr(table.estimator) for table in tables)
            raise UserError(
                f"the tables of {names} have no {self.system.noun} in common: predict the same data with each"
            )
        joined = [table.select(_positions(table.event_id, np.sort(common))) for table in tables]
        for other in joined[1:]:
            _check_same_truth(joined[0], other)
        return joined

    def write(self, path: Path | str) -> Path:
        """Write HDF5, one dataset a column with its unit; a reader sees the old file or the whole new one."""
        path = Path(path)
        with atomic_path(path) as temporary, h5py.File(temporary, "w", locking=False) as file:
            for name, values in self.columns.items():
                options: dict[str, Any] = {"fletcher32": True} if values.size else {}
                stored = values.astype(_SPLIT_TYPE) if name == schema.SPLIT else values
                dataset = file.create_dataset(name, data=stored, chunks=True if values.size else None, **options)
                dataset.attrs["units"] = unit_of(name)
            file.attrs["schema_version"] = schema.SCHEMA_VERSION
            file.attrs["rows"] = len(self)
            for name, value in self.attributes.items():
                file.attrs[name] = value if isinstance(value, str | int | float) else json.dumps(value, default=str)
        return path

    @classmethod
    def read(cls, path: Path | str) -> PredictionTable:
        """Read a table written by `write`; raises UserError for anything else."""
        path = Path(path)
        if path.is_dir():
            raise UserError(f"{path} is a folder, not a predictions table: name its predictions.hdf5")
        if not path.exists():
            raise UserError(f"{path} does not exist; `python cli.py test` and `scripts/estimate.py` write such tables")
        try:
            with h5py.File(path, "r", locking=False) as file:
                columns = {name: item[()] for name, item in file.items() if isinstance(item, h5py.Dataset)}
                attributes = {name: _as_attribute(value) for name, value in file.attrs.items()}
        except OSError as error:
            raise UserError(f"{path} cannot be read as a predictions table (HDF5): {_short(error)}") from error
        version, rows = attributes.pop("schema_version", schema.SCHEMA_VERSION), attributes.pop("rows", None)
        if version > schema.SCHEMA_VERSION:
            raise UserError(f"{path} has schema version {version}, newer than this program's {schema.SCHEMA_VERSION}")
        inputs = find_system(str(attributes.get(SYSTEM, DEFAULT))).input_columns
        if attributes.get("estimator") is None and any(name in columns for name in inputs):
            raise UserError(f"{path} holds records, not predictions: predict it first with `python cli.py predict`")
        try:
            table = cls(columns, attributes)
        except UserError as error:
            raise UserError(f"{path}: {error}") from error
        if rows is not None and len(table) != rows:
            raise UserError(f"{path} holds {len(table)} rows but says {rows}: it is damaged; write it again")
        return table

    def to_frame(self) -> pd.DataFrame:
        """Return a DataFrame; the upper triangle of the covariance as `covariance_<target>_<target>`."""
        flat = {name: values for name, values in self.columns.items() if values.ndim == 1}
        if schema.SPLIT in flat:
            names = {code: name for name, code in schema.SPLITS.items()}
            flat[schema.SPLIT] = np.array([names[code] for code in flat[schema.SPLIT].tolist()])
        if COVARIANCE in self.columns:
            for i, first in enumerate(self.targets):
                for j, second in enumerate(self.targets[i:], start=i):
                    flat[f"covariance_{first}_{second}"] = self.columns[COVARIANCE][:, i, j]
        return pd.DataFrame(flat)

    def to_csv(self, path: Path | str) -> Path:
        """Write CSV with all digits, atomically."""
        path = Path(path)
        with atomic_path(path) as temporary:
            self.to_frame().to_csv(temporary, index=False)
        return path


def unit_of(name: str) -> str:
    """Return the unit of a column of a table, "" for none: energy_std_ev → eV."""
    return _UNITS.get(name.rpartition("_")[2].lower(), "") if "_" in name else ""


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


def _as_attribute(value: Any) -> Any:
    if isinstance(value, bytes):
        value = value.decode()
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, str) and value[:1] == "[":
        with contextlib.suppress(json.JSONDecodeError):
            return json.loads(value)
    return value


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


def _positions(event_id: Values, wanted: Values) -> Values:
    order = np.argsort(event_id)
    return order[np.searchsorted(event_id, wanted, sorter=order)]


def _check_same_truth(first: PredictionTable, second: PredictionTable) -> None:
    for target in first.targets:
        if not (target in second.targets and first.has_truth(target) and second.has_truth(target)):
            continue
        # float32 in one of the tables is no other row
        same = np.isclose(first.truth(target), second.truth(target), rtol=1e-6, atol=0, equal_nan=True)
        if not same.all():
            raise UserError(
                f"{first.estimator!r} and {second.estimator!r} disagree on the true {target} of {np.sum(~same)} "
                f"{first.system.nouns} with the same event_id: they come from different simulations"
            )


def _short(error: OSError) -> str:
    return error.strerror or str(error).split("\n")[0]
