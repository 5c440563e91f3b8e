"""What pandas keeps in arrays of its own: nullable numbers, categories, dates, and what no column on disk can be.

Layouts: `BaseMaskedArray.__reduce__` (values and mask), `Categorical` (codes and categories), `DatetimeArray`, and
`Timestamp.__reduce__` (a count of units since 1970, UTC). Nothing here imports pandas.
"""

from __future__ import annotations

import datetime
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np

from cres.data.pickles.arrays import ArrayNode, Cells, objects_array
from cres.data.pickles.machine import Ignored, Name, Node, RefusedPickleError
from cres.data.pickles.texts import TextNode

_SECONDS_PER_UNIT: Final = {7: 1.0, 8: 1e-3, 9: 1e-6, 10: 1e-9}  # pandas' NPY_DATETIMEUNIT
# A code of one byte may stand for a long text: what the rows of a column may hold of them.
_MOST_LETTERS: Final = 1 << 26
_EPOCH: Final = datetime.datetime(1970, 1, 1)
_NOT_A_TIME: Final = np.iinfo(np.int64).min


@dataclass(frozen=True)
class Instant:
    """A date (seconds since 1970, UTC) or a span of time (seconds) in a cell."""

    seconds: float


@dataclass(frozen=True)
class Unusable:
    """A cell that no column on disk can hold; `what` names it in the plural."""

    what: str


@dataclass
class ExtensionNode(Node):
    """An array of pandas' own. `values` are its cells, None where it holds nothing that a column could be."""

    what: str
    values: Cells | None = None

    @property
    def weight(self) -> int:
        """Bytes of the array."""
        return 0 if self.values is None else self.values.nbytes

    def set_state(self, state: Any) -> None:
        """Keep nothing: what this array holds is left out."""


@dataclass
class _Masked(ExtensionNode):
    """Integers, floats or truth values, some of them missing: None."""

    def set_state(self, state: Any) -> None:
        values, mask = state["_data"].values, state["_mask"].values
        if values.ndim != 1 or mask.shape != values.shape:
            raise RefusedPickleError("it holds nullable numbers in an unknown form")
        if not mask.any():
            self.values = values
            return
        cells = objects_array(values.tolist())
        cells[mask.astype(bool)] = None
        self.values = cells


@dataclass
class _Categories(Node):
    """pandas.CategoricalDtype: the values that the codes stand for; `what` they are where no column can hold them."""

    labels: Cells | range | None = None
    what: str = ""

    @property
    def weight(self) -> int:
        """Nothing that could be large."""
        return 0

    def set_state(self, state: Any) -> None:
        index = state["categories"]
        self.labels, self.what = getattr(index, "labels", None), getattr(index, "what", "")


@dataclass
class _Categorical(ExtensionNode):
    """Codes and categories; a row without one has an empty text, or None among numbers."""

    def set_state(self, state: Any) -> None:
        parts = list(state.values()) if isinstance(state, dict) else list(state)
        categories = next((part for part in parts if isinstance(part, _Categories)), _Categories())
        if categories.what:
            self.what = f"categories of {categories.what}"
            return
        labels = categories.labels
        codes = next((part.values for part in parts if isinstance(part, ArrayNode)), None)
        if labels is None or codes is None or codes.dtype.kind != "i":
            raise RefusedPickleError("it holds categories in an unknown form")
        self.values = by_code(labels, codes, "")


def by_code(labels: Cells | range, codes: Cells, missing_text: str | None = None) -> Cells:
    """Return the label of each code; for −1 nothing: NaT among dates, `missing_text` among texts, else None.

    Raises RefusedPickleError for results beyond all measure.
    """
    if codes.max(initial=-1) >= len(labels) or codes.min(initial=0) < -1:
        raise RefusedPickleError("it holds codes of categories that it does not name")
    used, place = np.unique(codes.ravel(), return_inverse=True)
    if isinstance(labels, np.ndarray) and labels.dtype.kind in "mM":
        return np.append(labels, np.array("NaT", labels.dtype))[codes.ravel()]
    named = [None if code < 0 else labels[code] for code in used.tolist()]
    if codes.size * max((len(label) for label in named if isinstance(label, str)), default=1) > _MOST_LETTERS:
        raise RefusedPickleError("its categories have names that are too long for so many rows")
    if all(label is None or isinstance(label, str) for label in named):
        named = [missing_text if label is None else label for label in named]
    return objects_array(named)[place]


@dataclass
class _Dates(ExtensionNode):
    """Dates or spans of time, datetime64 or timedelta64; dates with a zone are UTC."""

    def set_state(self, state: Any) -> None:
        parts = list(state.values()) if isinstance(state, dict) else list(state)
        arrays = [part.values for part in parts if isinstance(part, ArrayNode)]
        if len(arrays) != 1 or arrays[0].dtype.kind not in "mM":
            raise RefusedPickleError("it holds dates in an unknown form")
        self.values = arrays[0]


def _backed(kind: Any, *_: Any) -> Node:
    """Stand for what pandas rebuilds around a numpy array, by the name of its class."""
    name = kind.name if isinstance(kind, Name) else ""
    if name == "Categorical":
        return _Categorical("categories")
    if name in ("DatetimeArray", "TimedeltaArray"):
        return _Dates("dates")
    if name == "PeriodArray":
        return ExtensionNode("periods")
    return TextNode()


def _ignored(*_: Any) -> Ignored:
    return Ignored()


@dataclass
class _Offset(Ignored):
    """datetime.timedelta: the offset of a fixed time zone, or a span of time in a cell."""

    seconds: float = 0.0


def _offset(days: Any = 0, seconds: Any = 0, microseconds: Any = 0) -> _Offset:
    return _Offset(86400.0 * days + seconds + 1e-6 * microseconds)


@dataclass
class _Zone(Ignored):
    """A time zone; `offset` seconds before UTC where it is fixed, None where it is not known here."""

    offset: float | None = field(default=None)


def _fixed_zone(offset: Any, *_: Any) -> _Zone:
    return _Zone(float(offset.seconds))


def _utc(*_: Any) -> _Zone:
    return _Zone(0.0)


def _zone(*_: Any) -> _Zone:
    return _Zone()


def _named_zone(owner: Any, attribute: Any) -> Name:
    """Stand for `getattr(ZoneInfo, "_unpickle")`, and for no other attribute of anything."""
    if not isinstance(owner, Name) or (owner.module, owner.name, attribute) != ("zoneinfo", "ZoneInfo", "_unpickle"):
        raise RefusedPickleError("it names builtins.getattr of something that is no time zone")
    return Name("zoneinfo", "ZoneInfo._unpickle", _zone)


def _timestamp(value: Any, _freq: Any = None, _zone: Any = None, unit: Any = 10, *_: Any) -> Instant | None:
    return None if value == _NOT_A_TIME else Instant(value * _SECONDS_PER_UNIT[unit])


def _timedelta(value: Any, unit: Any = 10) -> Instant | None:
    return None if value == _NOT_A_TIME else Instant(value * _SECONDS_PER_UNIT[unit])


def _datetime(packed: Any, zone: Any = None) -> Instant | Unusable:
    """`datetime.__reduce__`: ten bytes, the year first; a fold in the month's highest bit."""
    raw = packed.encode("latin-1") if isinstance(packed, str) else bytes(packed)
    if len(raw) != 10:
        raise RefusedPickleError("it holds a date in an unknown form")
    year, month = raw[0] * 256 + raw[1], raw[2] & 0x7F
    microsecond = int.from_bytes(raw[7:], "big")
    moment = datetime.datetime(year, month, raw[3], raw[4], raw[5], raw[6], microsecond)
    offset = 0.0 if zone is None else getattr(zone, "offset", None)
    return Unusable("dates of a named zone") if offset is None else Instant((moment - _EPOCH).total_seconds() - offset)


def _date(packed: Any) -> Instant:
    raw = packed.encode("latin-1") if isinstance(packed, str) else bytes(packed)
    if len(raw) != 4:
        raise RefusedPickleError("it holds a date in an unknown form")
    day = datetime.datetime(raw[0] * 256 + raw[1], raw[2], raw[3])
    return Instant((day - _EPOCH).total_seconds())


def _clock(*_: Any) -> Unusable:
    return Unusable("times of day")


def _decimal(text: Any) -> float:
    return float(str(text))


def _nothing(*_: Any) -> None:
    return None


def _sparse(*_: Any) -> ExtensionNode:
    return ExtensionNode("sparse numbers")


def _intervals(*_: Any) -> ExtensionNode:
    return ExtensionNode("intervals")


def _masked(*_: Any) -> _Masked:
    return _Masked("nullable numbers")


def _categories(*_: Any) -> _Categories:
    return _Categories()


def _arrays() -> dict[tuple[str, str], Any]:
    pairs: dict[tuple[str, str], Any] = {
        ("pandas._libs.arrays", "__pyx_unpickle_NDArrayBacked"): _backed,
        ("pandas._libs.interval", "__pyx_unpickle_IntervalMixin"): _intervals,
        ("pandas._libs.sparse", "IntIndex"): _ignored,
        ("pandas._libs.sparse", "BlockIndex"): _ignored,
    }
    for folder, name in (("integer", "IntegerArray"), ("floating", "FloatingArray"), ("boolean", "BooleanArray")):
        pairs["pandas.arrays", name] = _masked
        pairs[f"pandas.core.arrays.{folder}", name] = _masked
    for module in ("pandas.arrays", "pandas.core.arrays.sparse.array", "pandas.core.arrays.sparse"):
        pairs[module, "SparseArray"] = _sparse
    # Only named: what is rebuilt around them is above.
    pairs["pandas", "Categorical"] = None
    pairs["pandas.core.arrays.categorical", "Categorical"] = None
    pairs["pandas.core.arrays.interval", "IntervalArray"] = None
    for folder, name in (
        ("datetimes", "DatetimeArray"),
        ("timedeltas", "TimedeltaArray"),
        ("period", "PeriodArray"),
        ("interval", "IntervalArray"),
    ):
        pairs["pandas.arrays", name] = None
        pairs[f"pandas.core.arrays.{folder}", name] = None
    return pairs


def _dtypes() -> dict[tuple[str, str], Any]:
    pairs: dict[tuple[str, str], Any] = {}
    numbers = {
        "integer": [f"{sign}Int{bits}Dtype" for sign in ("", "U") for bits in (8, 16, 32, 64)],
        "floating": ["Float32Dtype", "Float64Dtype"],
        "boolean": ["BooleanDtype"],
    }
    for folder, names in numbers.items():
        for name in names:
            pairs["pandas", name] = pairs[f"pandas.core.arrays.{folder}", name] = _ignored
    for name in ("DatetimeTZDtype", "PeriodDtype", "IntervalDtype", "SparseDtype"):
        pairs["pandas", name] = pairs["pandas.core.dtypes.dtypes", name] = _ignored
    pairs["pandas.core.arrays.sparse.dtype", "SparseDtype"] = _ignored
    for module in ("pandas", "pandas.core.dtypes.dtypes", "pandas.core.arrays.arrow.dtype"):
        pairs[module, "ArrowDtype"] = _ignored
    pairs["pandas", "CategoricalDtype"] = pairs["pandas.core.dtypes.dtypes", "CategoricalDtype"] = _categories
    return pairs


_FREQUENCIES: Final = (
    *("Day", "Hour", "Minute", "Second", "Milli", "Micro", "Nano", "Week", "BusinessDay"),
    *(f"{span}{end}" for span in ("Month", "Quarter", "Year") for end in ("Begin", "End")),
)


def _times() -> dict[tuple[str, str], Any]:
    pairs: dict[tuple[str, str], Any] = {
        ("datetime", "datetime"): _datetime,
        ("datetime", "date"): _date,
        ("datetime", "time"): _clock,
        ("datetime", "timedelta"): _offset,
        ("datetime", "timezone"): _fixed_zone,
        ("pytz", "_UTC"): _utc,
        ("pytz", "_p"): _zone,
        ("zoneinfo", "ZoneInfo"): None,
        ("dateutil.tz.tz", "tzutc"): _utc,
        ("pandas._libs.tslibs.timestamps", "_unpickle_timestamp"): _timestamp,
        ("pandas._libs.tslibs.timestamps", "Timestamp"): _timestamp,
        ("pandas._libs.tslibs.timedeltas", "_timedelta_unpickle"): _timedelta,
        ("pandas._libs.tslibs.nattype", "_nat_unpickle"): _nothing,
        ("pandas._libs.tslibs.nattype", "__nat_unpickle"): _nothing,
    }
    for builtins in ("builtins", "__builtin__"):
        pairs[builtins, "getattr"] = _named_zone
    for name in _FREQUENCIES:
        pairs["pandas._libs.tslibs.offsets", name] = _ignored
    return pairs


def _vocabulary() -> dict[tuple[str, str], Any]:
    numbers = {("decimal", "Decimal"): _decimal, ("pandas", "NA"): None, ("pandas._libs.missing", "NA"): None}
    return {**_arrays(), **_dtypes(), **_times(), **numbers}


EXTENSION_VOCABULARY: Final = _vocabulary()


def without_stand_ins(cells: Cells) -> tuple[Cells | None, str]:
    """Return the objects of a column with dates as seconds and pandas' NA as None, and what was done with them.

    None for the cells, and a word for what they are, where no column can hold them.
    """
    unusable = next((cell.what for cell in cells if isinstance(cell, Unusable)), "")
    if unusable:
        return None, unusable
    plain = objects_array([_plain(cell) for cell in cells])
    moments = [isinstance(cell, (Instant, _Offset)) for cell in cells]
    if not any(moments):
        return plain, ""
    if not all(moment or value is None for moment, value in zip(moments, plain, strict=True)):
        return None, "dates among other things"
    return np.array([np.nan if value is None else value for value in plain], np.float64), "dates"


def _plain(cell: Any) -> Any:
    if isinstance(cell, (Instant, _Offset)):
        return cell.seconds
    return None if isinstance(cell, Name) and cell.name == "NA" else cell


def seconds(times: Cells) -> Cells:
    """Return datetime64 or timedelta64 as seconds (since 1970, UTC), float64, NaN where it is no time."""
    counts = times.astype(f"{times.dtype.kind}8[us]")
    values = counts.astype(np.int64).astype(np.float64) * 1e-6
    values[np.isnat(counts)] = np.nan
    return values
