"""What a pickle of data may be made of: inert stand-ins for the classes of numpy and pandas, old and new.

pandas 1.1 to 3 and numpy 1 and 2 are understood without being imported, so that a file does not depend on the
version that reads it. Layouts: `DataFrame.__getstate__`, `BlockManager.__reduce__`, `ndarray.__reduce__`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from cres.data.pickle_machine import Node, RefusedPickleError, Vocabulary
from cres.data.pickled_numpy import NUMPY_VOCABULARY, ArrayNode, Cells, objects_array
from cres.data.pickled_texts import TEXT_VOCABULARY, TextNode


@dataclass
class _Index:
    """The labels of an axis. Those of the rows are not used."""

    labels: list[Any]


def _new_index(_kind: Any, state: Any) -> _Index:
    data = state.get("data")
    if isinstance(data, (ArrayNode, TextNode)):
        return _Index(list(data.values.ravel()))
    return _Index([])


@dataclass
class _Block:
    """Columns of one type: values (columns, rows) and the positions of these columns."""

    values: Cells
    places: list[int]


def _unpickle_block(values: Any, places: Any, _ndim: Any) -> _Block:
    if not isinstance(values, (ArrayNode, TextNode)):
        raise RefusedPickleError("it holds a column in an unknown form")
    array = values.values if values.values.ndim == 2 else values.values[None]
    if isinstance(places, slice):
        listed = list(range(places.start, places.stop, places.step or 1)) if _small(places, len(array)) else []
    else:
        listed = [int(place) for place in places.values]
    if len(listed) != len(array):
        raise RefusedPickleError("its blocks do not fit their places")
    return _Block(array, listed)


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


def _vocabulary() -> Vocabulary:
    pairs: dict[tuple[str, str], Any] = {
        **NUMPY_VOCABULARY,
        **TEXT_VOCABULARY,
        ("pandas._libs.internals", "_unpickle_block"): _unpickle_block,
        ("pandas.core.indexes.base", "_new_Index"): _new_index,
        ("pandas.core.internals.managers", "BlockManager"): _manager,
        ("pandas.core.internals", "BlockManager"): _manager,
    }
    for module in ("pandas", "pandas.core.frame"):
        pairs[module, "DataFrame"] = _Frame
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
    return pairs


VOCABULARY: Final = _vocabulary()
"""The exact (module, name) pairs that a pickle of data may name, and the stand-in of each."""


@dataclass(frozen=True)
class Columns:
    """The columns of one pickle: arrays of numbers, or of objects (one object a row), and what came with the frame."""

    cells: dict[str, Cells]
    attributes: dict[str, Any]
    is_frame: bool


def columns_of(value: Any) -> Columns:
    """Return the columns of an interpreted pickle: of a DataFrame, or of a dict of arrays or lists.

    Raises RefusedPickleError when it is neither, or when columns share a name or have no text for a name.
    """
    try:
        if isinstance(value, _Frame):
            return Columns(_frame_cells(value.manager), value.attributes, is_frame=True)
        if isinstance(value, dict):
            return Columns({_column_name(name): _plain_column(name, cells) for name, cells in value.items()}, {}, False)
    except (TypeError, ValueError, AttributeError, OverflowError, RecursionError) as error:
        raise RefusedPickleError(f"its DataFrame is put together in an unknown way ({error})") from error
    raise RefusedPickleError("it holds neither a DataFrame nor a dict of arrays")


def _column_name(label: Any) -> str:
    if not isinstance(label, str) or label in ("", ".") or "/" in label or "\0" in label or not _is_unicode(label):
        shown = repr(label)[:60] if isinstance(label, (str, int, float)) else f"by a {type(label).__name__}"
        raise RefusedPickleError(f"it names a column {shown}, which is no plain text")
    return str(label)


def _is_unicode(label: str) -> bool:
    return not any("\ud800" <= character <= "\udfff" for character in label)


def _frame_cells(manager: Any) -> dict[str, Cells]:
    if len(manager.axes) != 2 or not all(isinstance(axis, _Index) for axis in manager.axes):
        raise RefusedPickleError("it holds a DataFrame without two axes")
    names = [_column_name(label) for label in manager.axes[0].labels]
    if len(set(names)) != len(names):
        raise RefusedPickleError("two of its columns have one name")
    places = {place: row for block in manager.blocks for place, row in zip(block.places, block.values, strict=True)}
    if places and not names:
        raise RefusedPickleError("its columns have no plain names (has it names of several levels?)")
    if sorted(places) != list(range(len(names))):
        raise RefusedPickleError("its blocks do not cover its columns")
    return {name: _plain_column(name, places[position]) for position, name in enumerate(names)}


def _plain_column(name: str, cells: Any) -> Cells:
    try:
        return plain_array(cells)
    except RefusedPickleError as error:
        raise RefusedPickleError(f"in column {name} {error}") from error


def plain_array(cells: Any) -> Cells:
    """Return cells as a numpy array whose objects are numbers, texts, arrays, lists or tuples; no stand-ins left."""
    if isinstance(cells, (ArrayNode, TextNode)):
        cells = cells.values
    if isinstance(cells, (list, tuple)):
        cells = objects_array(list(cells))
    if not isinstance(cells, np.ndarray) or cells.ndim == 0:
        raise RefusedPickleError("it holds a column that is no array")
    if cells.dtype.kind != "O":
        return cells
    plain = np.empty(len(cells), dtype=object)
    for row in range(len(cells)):
        try:
            plain[row] = _plain_cell(cells[row])
        except RefusedPickleError as error:
            raise RefusedPickleError(f"in row {row} {error}") from error
    return plain


def _plain_cell(cell: Any) -> Any:
    if isinstance(cell, (ArrayNode, TextNode)):
        cell = cell.values
    if isinstance(cell, np.ndarray) and cell.dtype.kind == "O":
        cell = list(cell.ravel())
    if isinstance(cell, (list, tuple)):
        return _numbers(cell)
    if cell is None or isinstance(cell, (str, bytes, int, float, complex, np.generic, np.ndarray)):
        return cell
    raise RefusedPickleError(f"it holds a cell of type {type(cell).__name__.lstrip('_')}")


def _numbers(cell: list[Any] | tuple[Any, ...]) -> NDArray[np.float64]:
    """Return a cell that was a list; nested ones are refused, since shared lists within lists multiply."""
    if not all(isinstance(number, (int, float, np.number)) for number in cell):
        raise RefusedPickleError("it holds a cell that is a list of something other than numbers")
    return np.array([float(number) for number in cell])
