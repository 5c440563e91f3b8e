"""What a pickle of data may be made of: inert stand-ins for the classes of numpy and pandas, old and new.

pandas 1.1 to 3 and numpy 1 and 2 are understood without being imported, so that a file does not depend on the
version that reads it. Layouts: `DataFrame.__getstate__`, `BlockManager.__reduce__`, `ndarray.__reduce__`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from cres.data.pickle_machine import Name, Node, RefusedPickleError, Vocabulary

Cells = NDArray[Any]
_NUMERIC_KINDS: Final = "biufcSUmM"


@dataclass
class _Dtype(Node):
    """numpy.dtype: a code such as 'f8', then its byte order."""

    code: str
    order: str = "="

    def set_state(self, state: Any) -> None:
        if state[2] is not None or state[3] is not None or state[4] is not None:
            raise RefusedPickleError("it holds an array of records")
        self.order = state[1]

    @property
    def value(self) -> np.dtype[Any]:
        """The dtype of plain numbers, texts or objects; anything else is refused."""
        dtype = np.dtype(self.code)
        if dtype.kind not in _NUMERIC_KINDS + "O" or dtype.subdtype is not None:
            raise RefusedPickleError(f"it holds an array of type {self.code}")
        return dtype.newbyteorder(">") if self.order == ">" else dtype


def _dtype(code: str, *_: Any) -> _Dtype:
    if not isinstance(code, str) or len(code) > 16:
        raise RefusedPickleError("it describes a dtype by something other than a code")
    return _Dtype(code)


@dataclass
class _Array(Node):
    """numpy.ndarray: shape, dtype and bytes; objects as a list."""

    values: Cells = field(default_factory=lambda: np.empty(0))

    def set_state(self, state: Any) -> None:
        _, shape, dtype, fortran, raw = state
        self.values = _array(raw, dtype.value, shape, "F" if fortran else "C")


def _array(raw: Any, dtype: np.dtype[Any], shape: Any, order: str) -> Cells:
    if not isinstance(shape, tuple) or not all(type(size) is int and size >= 0 for size in shape):
        raise RefusedPickleError("it holds an array of unknown shape")
    size = math.prod(shape)
    if dtype.kind == "O":
        flat = _objects(raw)
    else:
        raw = raw.encode("latin-1") if isinstance(raw, str) else raw
        flat = np.frombuffer(raw, dtype) if dtype.itemsize else np.zeros(0, dtype)
    if len(flat) != size:
        raise RefusedPickleError(f"it declares an array of {size} values and holds {len(flat)}")
    return flat.reshape(shape, order="F" if order == "F" else "C")


def _objects(raw: Any) -> Cells:
    if not isinstance(raw, list):
        raise RefusedPickleError("it holds an array of objects in an unknown form")
    flat = np.empty(len(raw), dtype=object)
    for index, value in enumerate(raw):
        flat[index] = value
    return flat


def _reconstruct(kind: Name, shape: tuple[int, ...], _code: Any) -> _Array:
    if kind.name != "ndarray" or shape not in ((0,), 0):
        raise RefusedPickleError("it constructs an array that is not empty")
    return _Array()


def _frombuffer(raw: Any, dtype: _Dtype, shape: tuple[int, ...], order: str, *_axes: Any) -> _Array:
    return _Array(_array(raw, dtype.value, shape, order))


def _scalar(dtype: _Dtype, raw: Any) -> Any:
    return _array(raw, dtype.value, (1,), "C")[0]


@dataclass
class _Text(Node):
    """The string arrays of pandas (columns' names of pandas 3 above all): a numpy array of objects within."""

    values: Cells = field(default_factory=lambda: np.empty(0, object))

    def set_state(self, state: Any) -> None:
        parts = state if isinstance(state, tuple) else (state,)
        arrays = [part for part in parts if isinstance(part, _Array)]
        if len(arrays) != 1:
            raise RefusedPickleError("it holds an extension array in an unknown form")
        self.values = arrays[0].values


def _unpickle_text(*_: Any) -> _Text:
    return _Text()


@dataclass
class _Index:
    """The labels of an axis. Those of the rows are not used."""

    labels: list[Any]


def _new_index(_kind: Name, state: dict[str, Any]) -> _Index:
    data = state.get("data")
    if isinstance(data, (_Array, _Text)):
        return _Index(list(data.values.ravel()))
    return _Index([])


@dataclass
class _Block:
    """Columns of one type: values (columns, rows) and the positions of these columns."""

    values: Cells
    places: list[int]


def _unpickle_block(values: Any, places: Any, _ndim: int) -> _Block:
    if not isinstance(values, (_Array, _Text)):
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

    def set_state(self, state: Any) -> None:
        if not (isinstance(state, tuple) and len(state) >= 4 and isinstance(state[3], dict)):
            if state is None or state == () or (isinstance(state, tuple) and self.blocks):
                return
            raise RefusedPickleError("it holds a DataFrame of a version that is too old")
        newest = state[3]["0.14.1"]
        self.axes = newest["axes"]
        self.blocks = tuple(_unpickle_block(block["values"], block["mgr_locs"], 2) for block in newest["blocks"])


def _manager(blocks: Iterable[_Block] = (), axes: list[_Index] | None = None, *_: Any) -> _Manager:
    return _Manager(tuple(blocks), list(axes or []))


@dataclass
class _Frame(Node):
    """pandas.DataFrame."""

    manager: _Manager = field(default_factory=_Manager)
    attributes: dict[str, Any] = field(default_factory=dict)

    def set_state(self, state: Any) -> None:
        self.manager = state["_mgr"] if "_mgr" in state else state["_data"]
        self.attributes = dict(state.get("attrs") or {})


def _slice(*bounds: Any) -> slice:
    if not all(bound is None or type(bound) is int for bound in bounds):
        raise RefusedPickleError("it holds a slice of something other than numbers")
    return slice(*bounds)


def _encode(text: str, encoding: str = "latin1") -> bytes:
    if encoding not in ("latin1", "latin-1"):
        raise RefusedPickleError(f"it encodes bytes as {encoding!r}")
    return text.encode("latin-1")


def _old_object(kind: Name, base: Name, _state: None) -> Any:
    if base.name != "object":
        raise RefusedPickleError("it constructs an object of two classes")
    return kind()


def _empty_bytes(*arguments: Any) -> bytes:
    if arguments:
        raise RefusedPickleError("it constructs bytes from something")
    return b""


def _ordered(*arguments: Any) -> dict[Any, Any]:
    if arguments:
        raise RefusedPickleError("it constructs an ordered dict from something")
    return {}


def _nothing(*_: Any) -> None:
    return None


def _vocabulary() -> Vocabulary:
    pairs: dict[tuple[str, str], Any] = {
        ("numpy", "ndarray"): None,
        ("numpy", "dtype"): _dtype,
        ("_codecs", "encode"): _encode,
        ("collections", "OrderedDict"): _ordered,
        ("pandas._libs.internals", "_unpickle_block"): _unpickle_block,
        ("pandas._libs.arrays", "__pyx_unpickle_NDArrayBacked"): _unpickle_text,
        ("pandas.core.indexes.base", "_new_Index"): _new_index,
        ("pandas.core.internals.managers", "BlockManager"): _manager,
        ("pandas.core.internals", "BlockManager"): _manager,
    }
    for core in ("numpy.core", "numpy._core"):
        pairs[f"{core}.multiarray", "_reconstruct"] = _reconstruct
        pairs[f"{core}.multiarray", "scalar"] = _scalar
        pairs[f"{core}.numeric", "_frombuffer"] = _frombuffer
    for builtins in ("builtins", "__builtin__"):
        pairs[builtins, "slice"] = _slice
        pairs[builtins, "object"] = None
        pairs[builtins, "bytes"] = _empty_bytes
    for copyreg in ("copyreg", "copy_reg"):
        pairs[copyreg, "_reconstructor"] = _old_object
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
        ("pandas.arrays", "StringArray"),
        ("pandas.core.arrays.string_", "StringArray"),
        ("pandas.core.arrays.string_", "StringArrayNumpySemantics"),
    ):
        pairs[module, name] = None
    for module in ("pandas", "pandas.core.arrays.string_"):
        pairs[module, "StringDtype"] = _nothing
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
    if isinstance(value, _Frame):
        return Columns(_frame_cells(value.manager), value.attributes, is_frame=True)
    if isinstance(value, dict):
        return Columns({_column_name(name): plain_array(cells) for name, cells in value.items()}, {}, is_frame=False)
    raise RefusedPickleError("it holds neither a DataFrame nor a dict of arrays")


def _column_name(label: Any) -> str:
    if not isinstance(label, str) or not label or "/" in label or "\0" in label:
        shown = repr(label)[:60] if isinstance(label, (str, int, float)) else f"by a {type(label).__name__}"
        raise RefusedPickleError(f"it names a column {shown}, which is no plain text")
    return str(label)


def _frame_cells(manager: _Manager) -> dict[str, Cells]:
    if len(manager.axes) != 2 or not all(isinstance(axis, _Index) for axis in manager.axes):
        raise RefusedPickleError("it holds a DataFrame without two axes")
    names = [_column_name(label) for label in manager.axes[0].labels]
    if len(set(names)) != len(names):
        raise RefusedPickleError("two of its columns have one name")
    places = {place: row for block in manager.blocks for place, row in zip(block.places, block.values, strict=True)}
    if sorted(places) != list(range(len(names))):
        raise RefusedPickleError("its blocks do not cover its columns")
    return {name: plain_array(places[position]) for position, name in enumerate(names)}


def plain_array(cells: Any) -> Cells:
    """Return cells as a numpy array whose objects are numbers, texts, arrays, lists or tuples; no stand-ins left."""
    if isinstance(cells, (_Array, _Text)):
        cells = cells.values
    if isinstance(cells, (list, tuple)):
        cells = _objects(list(cells))
    if not isinstance(cells, np.ndarray) or cells.ndim == 0:
        raise RefusedPickleError("it holds a column that is no array")
    if cells.dtype.kind != "O":
        return cells
    plain = np.empty(len(cells), dtype=object)
    for row in range(len(cells)):
        plain[row] = _plain_cell(cells[row])
    return plain


def _plain_cell(cell: Any) -> Any:
    if isinstance(cell, (_Array, _Text)):
        cell = cell.values
    if isinstance(cell, np.ndarray) and cell.dtype.kind == "O":
        cell = list(cell.ravel())
    if isinstance(cell, (list, tuple)):
        return _numbers(cell)
    if cell is None or isinstance(cell, (str, bytes, int, float, complex, np.generic, np.ndarray)):
        return cell
    raise RefusedPickleError(f"it holds a cell of type {type(cell).__name__}")


def _numbers(cell: list[Any] | tuple[Any, ...]) -> NDArray[np.float64]:
    """Return a cell that was a list; nested ones are refused, since shared lists within lists multiply."""
    if not all(isinstance(number, (int, float, np.number)) for number in cell):
        raise RefusedPickleError("it holds a cell that is a list of something other than numbers")
    return np.array([float(number) for number in cell])
