"""What a detector hands to the core: one frozen object, from which training, prediction and judging know its facts.

The core knows no unit, no column and no particle. A *system* says how its quantities are called and in what units,
which classes serve its rows and learn from them, which facts of the data a model is built with, when records are of
another apparatus than those of the training, and how its results are judged.
"""

from __future__ import annotations

import functools
import importlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any, Final, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from reconstruction.errors import UserError
from reconstruction.ranges import Allowed

DEFAULT: Final = "cres"
"""The system of a configuration, a checkpoint or a table that names none."""


@dataclass(frozen=True)
class Column:
    """One column: its name on disk, unit, dtype on disk and the range outside which a value is implausible."""

    name: str
    unit: str
    dtype: str
    minimum: float
    maximum: float
    meaning: str
    plain: str
    """How a person calls it, for axis labels: 'energy', 'pitch angle'."""

    def implausible(self, values: NDArray[Any]) -> list[tuple[int, str]]:
        """Return the rows (rows,) or (rows, n) that leave the plausible range, each with what is wrong; not NaN."""
        low, high = (values.min(axis=1), values.max(axis=1)) if values.ndim == 2 else (values, values)
        unusual = np.isfinite(low) & np.isfinite(high) & ((low < self.minimum) | (high > self.maximum))
        return [(int(row), self._outside(float(low[row]), float(high[row]))) for row in np.flatnonzero(unusual)]

    def _outside(self, low: float, high: float) -> str:
        value = low if low < self.minimum else high
        return (
            f"is {value:g} {self.unit}".rstrip()
            + f", outside {self.minimum:g} to {self.maximum:g} {self.unit}".rstrip()
            + " (is the unit right?)"
        )


@dataclass(frozen=True)
class Group:
    """Rows that are judged by themselves: those whose column holds at least `minimum`."""

    name: str
    column: str
    minimum: float
    words: str
    """The condition in words: 'a sideband SNR of 25 or more'."""
    why: str = ""
    """Why the others are judged apart."""

    def mask(self, values: NDArray[Any]) -> NDArray[np.bool_]:
        """Return which rows are in it, (rows,), of their column; not those that hold NaN."""
        return np.asarray(values) >= self.minimum


@dataclass(frozen=True)
class Goal:
    """What is asked of a target: a distance that counts as near, and the rms that a share of the rows should reach."""

    near: float
    rms: float


@dataclass(frozen=True)
class Judging:
    """How results are judged, named and drawn.

    groups: beside all rows. goals: by target, in its unit. covariates: columns that resolution and calibration are
    drawn over, with the column that stands in where a table lacks it. map_over: two of them that span a map. captions:
    of pictures, in place of the general ones.
    """

    groups: tuple[Group, ...] = ()
    goals: Mapping[str, Goal] = field(default_factory=dict)
    covariates: Mapping[str, str | None] = field(default_factory=dict)
    map_over: tuple[str, str] | None = None
    captions: Mapping[str, tuple[str, str]] = field(default_factory=dict)


@runtime_checkable
class ApparatusCheck(Protocol):
    """How records tell the apparatus that they are of."""

    def measure(self, inputs: Mapping[str, Any], data: Any, rows: Any) -> dict[str, Any]:
        """Return what noisy inputs {name: (batch, position, channel)} look like, in plain types."""
        ...

    def differences(self, found: Mapping[str, Any], known: Mapping[str, Any], any_length: bool = False) -> list[str]:
        """Return how records differ from those of a training, a phrase each; nothing where they are alike."""
        ...

    def advice(self, found: Mapping[str, Any], known: Mapping[str, Any], any_length: bool = False) -> str:
        """Return what to do about records that differ."""
        ...


@dataclass(frozen=True)
class System:
    """Everything that the core needs to know of a detector.

    name: what configurations, checkpoints and tables call it: the package or module that holds it as SYSTEM.
    noun, nouns: what one row of the data is, and several.
    columns: the quantities of its files by name; others have the unit that their name ends with.
    truths: columns that hold true start values, whether they are targets or not.
    module, data, curriculum: dotted paths of the classes that the command line configures: a Learner, a RowsDataModule,
    Moves. reconstruction: of what reads rows for `test` and `predict`. export: of the function that writes a model to
    one file; None where there is none.
    facts: names of what the data know and a model is built with: arguments of `module` that no configuration writes.
    must_agree: facts whose other value makes a model wrong, with how a person calls them and their unit.
    apparatus: what tells records of another apparatus; None where nothing does.
    judging: how results are judged.
    ranges: what numbers of its own options may be, by name. input_columns: what a file of its rows has and a table has
    not.
    """

    name: str
    noun: str
    nouns: str
    columns: Mapping[str, Column]
    module: str
    data: str
    curriculum: str = "reconstruction.training.learning.moves.NoiseCurriculum"
    export: str | None = None
    reconstruction: str = "reconstruction.training.runs.commands.Reconstruction"
    truths: Sequence[str] = ()
    facts: tuple[str, ...] = ()
    must_agree: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    apparatus: ApparatusCheck | None = None
    judging: Judging = Judging()
    ranges: Mapping[str, Allowed] = field(default_factory=dict)
    input_columns: tuple[str, ...] = ()

    def unit(self, column: str) -> str:
        """Return the unit of a column, "" where the system does not know it."""
        return self.columns[column].unit if column in self.columns else ""

    def described(self, column: str) -> str:
        """Return a column's plain name with its unit: energy_eV → energy (eV)."""
        known = self.columns.get(column)
        if known is None:
            return column
        return f"{known.plain} ({known.unit})" if known.unit else known.plain

    @property
    def one(self) -> str:
        """One row with its article: a row, a shower."""
        return f"{'an' if self.noun[:1] in 'aeiou' else 'a'} {self.noun}"

    def count(self, rows: int) -> str:
        """Return a number of rows in words: 1 row, 12 rows."""
        return f"{rows} {self.noun if rows == 1 else self.nouns}"


@functools.cache
def find_system(name: str = DEFAULT) -> System:
    """Return the system of a name: SYSTEM of the module NAME.system, or of NAME itself.

    Raises UserError where there is none.
    """
    for module in (f"{name}.system", name):
        found = getattr(_imported(module), "SYSTEM", None)
        if isinstance(found, System):
            return found
    raise UserError(
        f"there is no system {name!r}: `system` names the package or module whose SYSTEM describes the data, such as "
        "cres; one of your own must be on PYTHONPATH"
    )


def _imported(name: str) -> ModuleType | None:
    """Return a module, None where there is none of that name; what is missing inside of it is an error of its own."""
    if not all(part.isidentifier() for part in name.split(".")):
        return None
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is None or not (name == error.name or name.startswith(f"{error.name}.")):
            raise
        return None


def attribute_of(path: str) -> Any:
    """Return what a dotted path names: a class or a function of a module."""
    module, _, name = path.rpartition(".")
    return getattr(importlib.import_module(module), name)


def class_of(path: str) -> type[Any]:
    """Return the class of a dotted path."""
    found: type[Any] = attribute_of(path)
    return found
