"""What a pickle of data may be made of: inert stand-ins for the classes of numpy and pandas, old and new.

pandas 1.1 to 3 and numpy 1 and 2 are understood without being imported, so that a file does not depend on the
version that reads it. Layouts: `DataFrame.__getstate__`, `BlockManager.__reduce__`, `ndarray.__reduce__`.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from cres import schema
from cres.data.facts import FACTS
from cres.data.pickles.arrays import NUMPY_VOCABULARY, ArrayNode, Cells, objects_array
from cres.data.pickles.extensions import (
    EXTENSION_VOCABULARY,
    ExtensionNode,
    Instant,
    Unusable,
    by_code,
    seconds,
    without_stand_ins,
)
from cres.data.pickles.machine import Node, RefusedPickleError, Vocabulary
from cres.data.pickles.texts import TEXT_VOCABULARY, TextNode


@dataclass
class _Index:
    """The labels of an axis: of the columns, or of the rows, one level or several with their names."""

    labels: Cells | range = range(0)
    levels: dict[str, Any] = field(default_factory=dict)
    """Cells of each level that has a name: what was made row labels with `set_index`."""
    what: str = ""
    """What the labels are, where no column can hold them."""


def _new_index(_kind: Any, state: Any) -> _Index:
    if "levels" in state:
        return _Index(levels=_named_levels(state))
    data = state.get("data")
    name = state.get("name")
    if isinstance(data, (ArrayNode, TextNode, ExtensionNode)):
        levels = {name: data} if isinstance(name, str) else {}
        if data.values is None:
            return _Index(levels=levels, what=getattr(data, "what", ""))
        return _Index(data.values.ravel(), levels)
    bounds = [state.get(bound) for bound in ("start", "stop", "step")]
    if all(type(bound) is int for bound in bounds):
        labels = range(*bounds)
        return _Index(labels, {name: labels} if isinstance(name, str) else {})
    return _Index()


def _named_levels(state: Any) -> dict[str, Any]:
    """Return the cells of each named level of a MultiIndex: codes into the labels of the level, −1 for nothing."""
    levels = {}
    for level, codes, name in zip(state["levels"], state["codes"], state["names"], strict=True):
        if isinstance(name, str) and isinstance(level, _Index) and codes.values.dtype.kind == "i":
            levels[name] = ExtensionNode(level.what) if level.what else by_code(level.labels, codes.values)
    return levels


def _interval_index(*_: Any) -> _Index:
    return _Index(what="intervals")


@dataclass
class _Block:
    """Columns of one type: the cells of each, and their positions."""

    columns: list[Any]
    places: list[int]


def _unpickle_block(values: Any, places: Any, _ndim: Any) -> _Block:
    if not isinstance(values, (ArrayNode, TextNode, ExtensionNode)):
        raise RefusedPickleError("it holds a column in an unknown form")
    columns: list[Any] = [values]
    if values.values is not None:
        columns = list(values.values if values.values.ndim == 2 else values.values[None])
    if isinstance(places, slice):
        listed = list(range(places.start, places.stop, places.step or 1)) if _small(places, len(columns)) else []
    else:
        listed = [int(place) for place in places.values]
    if len(listed) != len(columns):
        raise RefusedPickleError("its blocks do not fit their places")
    return _Block(columns, listed)


def _small(places: slice, size: int) -> bool:
    return len(range(places.start, places.stop, places.step or 1)) == size


@dataclass
class _Manager(Node):
    """pandas.BlockManager: blocks and axes; before pandas 1.3 a state of four."""

    blocks: tuple[_Block, ...] = ()
    axes: list[_Index] = field(default_factory=list)

    @property
    def weight(self) -> int:
        """Nothing that could be large."""
        return 0

    def set_state(self, state: Any) -> None:
        if not (isinstance(state, tuple) and len(state) >= 4 and isinstance(state[3], dict)):
            if state is None or state == () or (isinstance(state, tuple) and self.blocks):
                return
            raise RefusedPickleError("it holds a DataFrame of a version that is too old")
        newest = state[3]["0.14.1"]
        self.axes = newest["axes"]
        self.blocks = tuple(_unpickle_block(block["values"], block["mgr_locs"], 2) for block in newest["blocks"])


def _manager(blocks: Any = (), axes: Any = None, *_: Any) -> _Manager:
    return _Manager(tuple(blocks), list(axes or []))


@dataclass
class _Frame(Node):
    """pandas.DataFrame."""

    manager: _Manager = field(default_factory=_Manager)
    attributes: dict[str, Any] = field(default_factory=dict)

    @property
    def weight(self) -> int:
        """Nothing that could be large."""
        return 0

    def set_state(self, state: Any) -> None:
        self.manager = state["_mgr"] if "_mgr" in state else state["_data"]
        self.attributes = dict(state.get("attrs") or {})


@dataclass
class _SingleManager(Node):
    """pandas.SingleBlockManager: the one column of a Series."""

    cells: Any = None

    @property
    def weight(self) -> int:
        """Nothing that could be large."""
        return 0

    def set_state(self, state: Any) -> None:
        if not (isinstance(state, tuple) and len(state) >= 4 and isinstance(state[3], dict)):
            raise RefusedPickleError("it holds a Series of a version that is too old")
        (block,) = state[3]["0.14.1"]["blocks"]
        self.cells = block["values"]


@dataclass
class _Series(Node):
    """pandas.Series: one column, its cells."""

    cells: Any = None

    @property
    def weight(self) -> int:
        """Nothing that could be large."""
        return 0

    def set_state(self, state: Any) -> None:
        self.cells = (state["_mgr"] if "_mgr" in state else state["_data"]).cells


def _vocabulary() -> Vocabulary:
    pairs: dict[tuple[str, str], Any] = {
        **NUMPY_VOCABULARY,
        **TEXT_VOCABULARY,
        **EXTENSION_VOCABULARY,
        ("pandas._libs.internals", "_unpickle_block"): _unpickle_block,
        ("pandas.core.indexes.base", "_new_Index"): _new_index,
        ("pandas.core.indexes.datetimes", "_new_DatetimeIndex"): _new_index,
        ("pandas.core.indexes.timedeltas", "_new_TimedeltaIndex"): _new_index,
        ("pandas.core.indexes.period", "_new_PeriodIndex"): _new_index,
        ("pandas.core.indexes.interval", "_new_IntervalIndex"): _interval_index,
    }
    for module in ("pandas.core.internals.managers", "pandas.core.internals"):
        pairs[module, "BlockManager"] = _manager
        pairs[module, "SingleBlockManager"] = _SingleManager
    for module in ("pandas", "pandas.core.frame"):
        pairs[module, "DataFrame"] = _Frame
    for module in ("pandas", "pandas.core.series"):
        pairs[module, "Series"] = _Series
    for module, name in (
        ("pandas", "Index"),
        ("pandas", "RangeIndex"),
        ("pandas", "MultiIndex"),
        ("pandas.core.indexes.base", "Index"),
        ("pandas.core.indexes.range", "RangeIndex"),
        ("pandas.core.indexes.multi", "MultiIndex"),
        ("pandas.core.indexes.numeric", "Int64Index"),
        ("pandas.core.indexes.numeric", "UInt64Index"),
        ("pandas.core.indexes.numeric", "Float64Index"),
    ):
        pairs[module, name] = None
    for name, folder in (
        ("DatetimeIndex", "datetimes"),
        ("TimedeltaIndex", "timedeltas"),
        ("PeriodIndex", "period"),
        ("IntervalIndex", "interval"),
        ("CategoricalIndex", "category"),
    ):
        pairs["pandas", name] = pairs[f"pandas.core.indexes.{folder}", name] = None
    return pairs


VOCABULARY: Final = _vocabulary()
"""The exact (module, name) pairs that a pickle of data may name, and the stand-in of each."""


_SECONDS: Final = "kept as seconds (dates: since 1970, UTC)"


class _NoCellError(RefusedPickleError):
    """A cell that no column can hold; `what` such cells are."""

    def __init__(self, message: str, what: str) -> None:
        super().__init__(message)
        self.what = what


@dataclass(frozen=True)
class Columns:
    """The columns of one pickle: arrays of numbers, or of objects (one object a row), and what came with the frame."""

    cells: dict[str, Cells]
    attributes: dict[str, Any]
    is_frame: bool
    notes: tuple[str, ...] = ()
    """One sentence for each column that was converted or left out."""


def columns_of(value: Any) -> Columns:
    """Return the columns of an interpreted pickle: of a DataFrame, or of a dict of arrays, Series, lists and scalars.

    Row labels that have a name are a column; dates become seconds; columns of what HDF5 cannot hold are left out,
    and named in `notes`. Facts of the record (rate, oscillator, seed) that stand as scalars in a dict are attributes,
    other scalars are columns of one value.

    Raises RefusedPickleError when it is neither, or when columns share a name or have no text for a name.
    """
    try:
        if isinstance(value, _Frame):
            cells, notes = _usable(_frame_cells(value.manager))
            return Columns(cells, value.attributes, is_frame=True, notes=notes)
        if isinstance(value, dict):
            return _columns_of_dict(value)
    except (TypeError, ValueError, AttributeError, OverflowError, RecursionError) as error:
        raise RefusedPickleError(f"its DataFrame is put together in an unknown way ({error})") from error
    raise RefusedPickleError("it holds neither a DataFrame nor a dict of arrays")


def _columns_of_dict(value: dict[Any, Any]) -> Columns:
    named = {_column_name(name): cells for name, cells in value.items()}
    scalars = {name: _scalar(cells) for name, cells in named.items()}
    columns, alone = {}, []
    for name, cells in named.items():
        if isinstance(cells, Instant):
            alone.append(f"column {name} holds a date or a span of time: {_SECONDS}")
        elif cells is None or isinstance(cells, (dict, set, bytes, Unusable)):
            alone.append(f"column {name} holds {_word(cells)}, and no array: left out")
        elif scalars[name] is None:
            columns[name] = cells
    arrays, notes = _usable(columns)
    rows = len(next(iter(arrays.values()))) if arrays else 0
    attributes = {name: scalar for name, scalar in scalars.items() if scalar is not None and name in FACTS}
    constant = {
        name: np.full(rows, scalar, object if isinstance(scalar, str) else None)
        for name, scalar in scalars.items()
        if scalar is not None and name not in FACTS and arrays
    }
    return Columns({**arrays, **constant}, attributes, False, (*notes, *alone))


def _word(cells: Any) -> str:
    """Return what stands alone in a dict, in words."""
    if isinstance(cells, Unusable):
        return cells.what
    return "nothing" if cells is None else f"a {type(cells).__name__}"


def _scalar(cells: Any) -> Any:
    """Return the number or text that stands alone in a dict, or None for anything else."""
    if isinstance(cells, ArrayNode) and cells.values.ndim == 0 and cells.values.dtype.kind in "biufcU":
        return cells.values[()]
    if isinstance(cells, Instant):
        return cells.seconds
    return cells if isinstance(cells, (bool, int, float, complex, str, np.number, np.bool_)) else None


def _usable(columns: dict[str, Any]) -> tuple[dict[str, Cells], tuple[str, ...]]:
    """Return the columns that can be written, and a sentence for each that was converted or left out."""
    cells: dict[str, Cells] = {}
    notes = []
    for name, raw in columns.items():
        values, what = _plain_column(name, raw)
        if values is not None and name not in schema.COLUMNS and _is_nothing(values):
            values, what = None, "nothing"
        if values is not None:
            cells[name] = values
        if what:
            done = _SECONDS if values is not None else "left out"
            notes.append(f"column {name} holds {what}: {done}")
    return cells, tuple(notes)


def _column_name(label: Any) -> str:
    if not isinstance(label, str) or label in ("", ".") or "/" in label or "\0" in label or not _is_unicode(label):
        shown = repr(label)[:60] if isinstance(label, (str, int, float)) else f"by a {type(label).__name__}"
        raise RefusedPickleError(f"it names a column {shown}, which is no plain text")
    return str(label)


def _is_unicode(label: str) -> bool:
    return not any("\ud800" <= character <= "\udfff" for character in label)


def _is_nothing(values: Cells) -> bool:
    return values.dtype.kind == "O" and len(values) > 0 and all(cell is None for cell in values)


def _frame_cells(manager: Any) -> dict[str, Any]:
    if len(manager.axes) != 2 or not all(isinstance(axis, _Index) for axis in manager.axes):
        raise RefusedPickleError("it holds a DataFrame without two axes")
    names = [_column_name(label) for label in manager.axes[0].labels]
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise RefusedPickleError(f"two of its columns have one name, {twice[0]}")
    places = {
        place: cells for block in manager.blocks for place, cells in zip(block.places, block.columns, strict=True)
    }
    if places and not names:
        raise RefusedPickleError("its columns have no plain names (has it names of several levels?)")
    if sorted(places) != list(range(len(names))):
        raise RefusedPickleError("its blocks do not cover its columns")
    columns = {name: places[position] for position, name in enumerate(names)}
    return {**_row_labels(manager.axes[1], columns), **columns}


def _row_labels(axis: _Index, columns: dict[str, Any]) -> dict[str, Any]:
    """Return the named levels of the row labels as columns; a column of the same name goes before them."""
    rows = max((len(cells) for cells in columns.values() if isinstance(cells, np.ndarray)), default=0)
    return {
        _column_name(name): np.arange(cells.start, cells.stop, cells.step) if isinstance(cells, range) else cells
        for name, cells in axis.levels.items()
        if name not in columns and (not isinstance(cells, range) or len(cells) == rows)
    }


def _plain_column(name: str, cells: Any) -> tuple[Cells | None, str]:
    try:
        return plain_array(cells)
    except RefusedPickleError as error:
        if isinstance(error, _NoCellError) and name not in schema.COLUMNS:
            return None, error.what
        raise RefusedPickleError(f"in column {name} {error}") from error


def plain_array(cells: Any) -> tuple[Cells | None, str]:
    """Return cells as a numpy array whose objects are numbers, texts, arrays, lists or tuples; no stand-ins left.

    None, and a word for what they are, where no column can hold them; a word beside dates that became seconds.
    """
    if isinstance(cells, _Series):
        cells = cells.cells
    if isinstance(cells, ExtensionNode) and cells.values is None:
        return None, cells.what
    if isinstance(cells, (ArrayNode, TextNode, ExtensionNode)):
        cells = cells.values
    if isinstance(cells, (list, tuple)):
        cells = objects_array(list(cells))
    if not isinstance(cells, np.ndarray) or cells.ndim == 0:
        raise RefusedPickleError("it holds a column that is no array")
    if cells.dtype.kind in "mM":
        return seconds(cells), "dates" if cells.dtype.kind == "M" else "spans of time"
    if cells.dtype.kind != "O":
        return cells, ""
    if cells.ndim != 1:
        cells = objects_array(list(cells))
    kept, what = without_stand_ins(cells)
    if kept is None or kept.dtype.kind != "O":
        return kept, what
    return _plain_objects(kept), what


def _plain_objects(cells: Cells) -> Cells:
    plain = np.empty(len(cells), dtype=object)
    for row in range(len(cells)):
        try:
            plain[row] = _plain_cell(cells[row])
        except _NoCellError as error:
            raise _NoCellError(f"in row {row} {error}", error.what) from error
        except RefusedPickleError as error:
            raise RefusedPickleError(f"in row {row} {error}") from error
    return plain


def _plain_cell(cell: Any) -> Any:
    if isinstance(cell, _Series):
        cell = cell.cells
    if isinstance(cell, (ArrayNode, TextNode)):
        cell = cell.values
    if isinstance(cell, np.ndarray) and cell.dtype.kind == "O":
        cell = list(cell.ravel())
    if isinstance(cell, (list, tuple)):
        return _numbers(cell)
    if cell is None or isinstance(cell, (str, bytes, int, float, complex, np.generic, np.ndarray)):
        return cell
    kind = type(cell).__name__.lstrip("_")
    if isinstance(cell, (dict, set)):
        raise _NoCellError(f"it holds a cell of type {kind}", f"cells of type {kind}")
    raise RefusedPickleError(f"it holds a cell of type {kind}")


def _numbers(cell: list[Any] | tuple[Any, ...]) -> NDArray[np.float64]:
    """Return a cell that was a list; nested ones are refused, since shared lists within lists multiply."""
    if not all(isinstance(number, (int, float, np.number)) for number in cell):
        message = "it holds a cell that is a list of something other than numbers"
        if all(isinstance(text, str) for text in cell):
            raise _NoCellError(message, "lists of texts")
        raise RefusedPickleError(message)
    return np.array([float(number) for number in cell])
