"""Text arrays of pandas, and all arrays on Arrow buffers, as inert stand-ins.

The names of the columns are such an array since pandas 3: on Arrow where pyarrow is installed.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, Final

import numpy as np

from cres.data.pickles.arrays import ArrayNode, Cells, objects_array
from cres.data.pickles.machine import Ignored, Node, RefusedPickleError

# Arrow's name of a text type, and the type of its offsets.
_ARROW_TEXTS: Final = {"string": np.int32, "utf8": np.int32, "large_string": np.int64, "large_utf8": np.int64}
_ARROW_NUMBERS: Final = {
    **{f"{sign}int{bits}": f"<{sign or 'i'}{bits // 8}" for sign in ("", "u") for bits in (8, 16, 32, 64)},
    "float": "<f4",
    "double": "<f8",
    "bool": "?",
    **{f"timestamp[{unit}]": f"<M8[{unit}]" for unit in ("s", "ms", "us", "ns")},
}


@dataclass
class TextNode(Node):
    """An array of texts, or one that pyarrow holds: its cells are texts, numbers or dates, or None."""

    values: Cells = field(default_factory=lambda: np.empty(0, object))

    @property
    def weight(self) -> int:
        """Bytes of the array."""
        return self.values.nbytes

    def set_state(self, state: Any) -> None:
        """Take the one array that is in the state, whatever else is."""
        parts = state.values() if isinstance(state, dict) else state if isinstance(state, tuple) else (state,)
        arrays = [part.values for part in parts if isinstance(part, (ArrayNode, _ArrowArray))]
        if len(arrays) != 1:
            raise RefusedPickleError("it holds an extension array in an unknown form")
        self.values = arrays[0]


@dataclass(frozen=True)
class _ArrowArray:
    """A pyarrow array of texts, numbers or dates, decoded; None where it holds nothing."""

    values: Cells


def _restore_array(data: Any) -> _ArrowArray:
    """Arrow's columnar layout: a bit a row (1: valid), then values; texts as offsets and UTF-8 bytes.

    The buffers may begin before `offset`.
    """
    kind, length, _nulls, offset, buffers = data[:5]
    if not isinstance(kind, str) or not 0 <= length <= 8 * len(buffers[1]):
        raise RefusedPickleError("it holds an Arrow array of something other than texts, numbers and dates")
    if kind in _ARROW_TEXTS and len(buffers) == 3:
        values = _arrow_texts(kind, length, offset, buffers)
    elif kind in _ARROW_NUMBERS and len(buffers) == 2:
        values = _arrow_numbers(kind, length, offset, buffers[1])
    else:
        raise RefusedPickleError("it holds an Arrow array of something other than texts, numbers and dates")
    if len(values) != length:
        raise RefusedPickleError("it holds an Arrow array that is shorter than it says")
    return _ArrowArray(values if buffers[0] is None else _with_gaps(values, _bits(buffers[0], length, offset)))


def _arrow_texts(kind: str, length: int, offset: int, buffers: list[Any]) -> Cells:
    _, places, content = buffers
    bounds = np.frombuffer(places, _ARROW_TEXTS[kind])[offset : offset + length + 1].tolist() if length else [0]
    return objects_array([content[start:end].decode("utf-8") for start, end in pairwise(bounds)])


def _arrow_numbers(kind: str, length: int, offset: int, content: bytes) -> Cells:
    if kind == "bool":
        return _bits(content, length, offset).astype(bool)
    return np.frombuffer(content, _ARROW_NUMBERS[kind])[offset : offset + length]


def _bits(content: bytes, length: int, offset: int) -> Cells:
    return np.unpackbits(np.frombuffer(content, np.uint8), bitorder="little")[offset : offset + length]


def _with_gaps(values: Cells, present: Cells) -> Cells:
    if present.all():
        return values
    if values.dtype.kind == "M":
        return np.where(present, values, np.datetime64("NaT"))
    cells = objects_array(values.tolist())
    cells[present == 0] = None
    return cells


def _arrow_timestamp(unit: Any, *_zone: Any) -> str:
    return f"timestamp[{unit}]"


def _chunked_array(chunks: Any, _kind: Any = None) -> _ArrowArray:
    parts = [chunk.values for chunk in chunks]
    return _ArrowArray(np.concatenate(parts) if parts else np.empty(0, object))


def _alias(kind: Any) -> Any:
    return kind


def _py_buffer(content: Any) -> bytes:
    if not isinstance(content, (bytes, bytearray)):
        raise RefusedPickleError("it holds an Arrow buffer that is no bytes")
    return bytes(content)


def _text(*_: Any) -> TextNode:
    return TextNode()


def _dtype(*_: Any) -> Ignored:
    return Ignored()


def _vocabulary() -> dict[tuple[str, str], Any]:
    pairs: dict[tuple[str, str], Any] = {
        ("pyarrow.lib", "_restore_array"): _restore_array,
        ("pyarrow.lib", "chunked_array"): _chunked_array,
        ("pyarrow.lib", "type_for_alias"): _alias,
        ("pyarrow.lib", "py_buffer"): _py_buffer,
        ("pyarrow.lib", "timestamp"): _arrow_timestamp,
    }
    for module in ("pandas", "pandas.core.arrays.string_"):
        pairs[module, "StringDtype"] = _dtype
    for module, name in (
        ("pandas.arrays", "StringArray"),
        ("pandas.core.arrays.string_", "StringArray"),
        ("pandas.core.arrays.string_", "StringArrayNumpySemantics"),
        ("pandas.arrays", "ArrowStringArray"),
        ("pandas.core.arrays.string_arrow", "ArrowStringArray"),
        ("pandas.core.arrays.string_arrow", "ArrowStringArrayNumpySemantics"),
        ("pandas.arrays", "ArrowExtensionArray"),
        ("pandas.core.arrays.arrow.array", "ArrowExtensionArray"),
    ):
        pairs[module, name] = _text
    return pairs


TEXT_VOCABULARY: Final = _vocabulary()
