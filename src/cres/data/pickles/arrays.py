"""What a pickle says of numpy arrays and of Python's own values, as inert stand-ins: numpy 1 and 2."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from cres.data.pickles.machine import Name, Node, RefusedPickleError

Cells = NDArray[Any]
_NUMERIC_KINDS: Final = "biufcSUmM"
_TIME_UNITS: Final = ("D", "h", "m", "s", "ms", "us", "ns")


@dataclass
class _Dtype(Node):
    """numpy.dtype: a code such as 'f8', then its byte order."""

    code: str
    order: str = "="
    unit: str = ""

    @property
    def weight(self) -> int:
        """Nothing that could be large."""
        return 0

    def set_state(self, state: Any) -> None:
        if state[2] is not None or state[3] is not None or state[4] is not None:
            raise RefusedPickleError("it holds an array of records")
        self.order = state[1]
        if len(state) > 8 and self.code in ("M8", "m8"):
            self.unit = _time_unit(state[8])

    @property
    def value(self) -> np.dtype[Any]:
        """The dtype of plain numbers, texts or objects; anything else is refused."""
        dtype = np.dtype(self.code + self.unit)
        if dtype.kind not in _NUMERIC_KINDS + "O" or dtype.subdtype is not None:
            raise RefusedPickleError(f"it holds an array of type {self.code!r}")
        return dtype.newbyteorder(">") if self.order == ">" else dtype


def _time_unit(metadata: Any) -> str:
    """Return the unit of dates, such as "[ns]": numpy keeps it beside the code as (…, (unit, count, …))."""
    unit, count = metadata[1][:2]
    name = unit.decode("ascii") if isinstance(unit, bytes) else str(unit)
    if name not in _TIME_UNITS or type(count) is not int or not 0 < count < 1000:
        raise RefusedPickleError("it holds dates of an unknown unit")
    return f"[{count}{name}]"


def _dtype(code: Any, *_: Any) -> _Dtype:
    if not isinstance(code, str) or len(code) > 16:
        raise RefusedPickleError("it describes a dtype by something other than a code")
    return _Dtype(code)


@dataclass
class ArrayNode(Node):
    """numpy.ndarray: shape, dtype and bytes; objects as a list."""

    values: Cells = field(default_factory=lambda: np.empty(0))

    @property
    def weight(self) -> int:
        """Bytes of the array."""
        return self.values.nbytes

    def set_state(self, state: Any) -> None:
        """Take what `ndarray.__reduce__` gives: version, shape, dtype, order, content."""
        _, shape, dtype, fortran, raw = state
        self.values = _array(raw, dtype.value, shape, "F" if fortran else "C")


def _array(raw: Any, dtype: np.dtype[Any], shape: Any, order: Any) -> Cells:
    if not isinstance(shape, tuple) or not all(type(size) is int and size >= 0 for size in shape):
        raise RefusedPickleError("it holds an array of unknown shape")
    size = math.prod(shape)
    if dtype.kind == "O":
        flat = objects_array(raw)
    else:
        raw = raw.encode("latin-1") if isinstance(raw, str) else raw
        flat = np.frombuffer(raw, dtype) if dtype.itemsize else np.zeros(0, dtype)
    if len(flat) != size:
        raise RefusedPickleError(f"it declares an array of {size} values and holds {len(flat)}")
    return flat.reshape(shape, order="F" if order == "F" else "C")


def objects_array(raw: Any) -> Cells:
    """Return a list as a one-dimensional array of objects, whatever they are."""
    if not isinstance(raw, list):
        raise RefusedPickleError("it holds an array of objects in an unknown form")
    flat = np.empty(len(raw), dtype=object)
    for index, value in enumerate(raw):
        flat[index] = value
    return flat


def _reconstruct(kind: Any, shape: Any, _code: Any) -> ArrayNode:
    if kind.name != "ndarray" or shape not in ((0,), 0):
        raise RefusedPickleError("it constructs an array that is not empty")
    return ArrayNode()


def _frombuffer(raw: Any, dtype: Any, shape: Any, order: Any, *_axes: Any) -> ArrayNode:
    return ArrayNode(_array(raw, dtype.value, shape, order))


def _scalar(dtype: Any, raw: Any) -> Any:
    return _array(raw, dtype.value, (1,), "C")[0]


def _slice(*bounds: Any) -> slice:
    if not all(bound is None or type(bound) is int for bound in bounds):
        raise RefusedPickleError("it holds a slice of something other than numbers")
    return slice(*bounds)


def _encode(text: Any, encoding: Any = "latin1") -> bytes:
    if encoding not in ("latin1", "latin-1"):
        raise RefusedPickleError("it encodes bytes in an unknown way")
    return text.encode("latin-1")


def _old_object(kind: Any, base: Any, _state: Any) -> Any:
    if not isinstance(kind, Name) or not isinstance(base, Name) or base.name != "object":
        raise RefusedPickleError("it constructs an object of two classes")
    return kind()


def _bytes(content: Any = b"", *_encoding: Any) -> bytes:
    if isinstance(content, str):
        return content.encode("latin-1")
    if not isinstance(content, (bytes, bytearray)):
        raise RefusedPickleError("it constructs bytes from something else")
    return bytes(content)


def _ordered(*arguments: Any) -> dict[Any, Any]:
    if arguments:
        raise RefusedPickleError("it constructs an ordered dict from something")
    return {}


def _vocabulary() -> dict[tuple[str, str], Any]:
    pairs: dict[tuple[str, str], Any] = {
        ("numpy", "ndarray"): None,
        ("numpy", "dtype"): _dtype,
        ("_codecs", "encode"): _encode,
        ("collections", "OrderedDict"): _ordered,
    }
    for core in ("numpy.core", "numpy._core"):
        pairs[f"{core}.multiarray", "_reconstruct"] = _reconstruct
        pairs[f"{core}.multiarray", "scalar"] = _scalar
        pairs[f"{core}.numeric", "_frombuffer"] = _frombuffer
    for builtins in ("builtins", "__builtin__"):
        pairs[builtins, "slice"] = _slice
        pairs[builtins, "object"] = None
        pairs[builtins, "bytes"] = _bytes
        pairs[builtins, "bytearray"] = _bytes
    for copyreg in ("copyreg", "copy_reg"):
        pairs[copyreg, "_reconstructor"] = _old_object
    return pairs


NUMPY_VOCABULARY: Final = _vocabulary()
