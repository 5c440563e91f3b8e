"""Text arrays of pandas, as inert stand-ins: those on numpy objects and those on Arrow buffers.

The names of the columns are such an array since pandas 3: on Arrow where pyarrow is installed.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, Final

import numpy as np

from cres.data.pickle_machine import Node, RefusedPickleError
from cres.data.pickled_numpy import ArrayNode, Cells, objects_array

# Arrow's name of a text type, and the type of its offsets.
_ARROW_TEXTS: Final = {"string": np.int32, "utf8": np.int32, "large_string": np.int64, "large_utf8": np.int64}


@dataclass
class TextNode(Node):
    """A text array: its cells are texts, or None."""

    values: Cells = field(default_factory=lambda: np.empty(0, object))

    @property
    def weight(self) -> int:
        """Bytes of the array."""
        return self.values.nbytes

    def set_state(self, state: Any) -> None:
        """Take the one array that is in the state, whatever else is."""
        parts = state.values() if isinstance(state, dict) else state if isinstance(state, tuple) else (state,)
        arrays = [part.values for part in parts if isinstance(part, (ArrayNode, _ArrowTexts))]
        if len(arrays) != 1:
            raise RefusedPickleError("it holds an extension array in an unknown form")
        self.values = arrays[0]


@dataclass(frozen=True)
class _ArrowTexts:
    """A pyarrow array of texts, decoded."""

    values: Cells


def _restore_array(data: Any) -> _ArrowTexts:
    """Arrow's columnar layout: a bit a row (1: valid), offsets, UTF-8 bytes; the buffers may begin before `offset`."""
    kind, length, _nulls, offset, buffers = data[:5]
    if not isinstance(kind, str) or kind not in _ARROW_TEXTS or len(buffers) != 3 or not 0 <= length <= len(buffers[1]):
        raise RefusedPickleError("it holds an Arrow array of something other than texts")
    valid, places, content = buffers
    bounds = np.frombuffer(places, _ARROW_TEXTS[kind])[offset : offset + length + 1].tolist() if length else [0]
    texts: list[str | None] = [content[start:end].decode("utf-8") for start, end in pairwise(bounds)]
    if valid is not None:
        present = np.unpackbits(np.frombuffer(valid, np.uint8), bitorder="little")[offset : offset + length]
        texts = [text if there else None for text, there in zip(texts, present, strict=True)]
    if len(texts) != length:
        raise RefusedPickleError("it holds an Arrow array that is shorter than it says")
    return _ArrowTexts(objects_array(texts))


def _chunked_array(chunks: Any, _kind: Any = None) -> _ArrowTexts:
    return _ArrowTexts(np.concatenate([np.empty(0, object), *(chunk.values for chunk in chunks)]))


def _alias(kind: Any) -> Any:
    return kind


def _py_buffer(content: Any) -> bytes:
    if not isinstance(content, (bytes, bytearray)):
        raise RefusedPickleError("it holds an Arrow buffer that is no bytes")
    return bytes(content)


def _text(*_: Any) -> TextNode:
    return TextNode()


def _nothing(*_: Any) -> None:
    return None


def _vocabulary() -> dict[tuple[str, str], Any]:
    pairs: dict[tuple[str, str], Any] = {
        ("pandas._libs.arrays", "__pyx_unpickle_NDArrayBacked"): _text,
        ("pyarrow.lib", "_restore_array"): _restore_array,
        ("pyarrow.lib", "chunked_array"): _chunked_array,
        ("pyarrow.lib", "type_for_alias"): _alias,
        ("pyarrow.lib", "py_buffer"): _py_buffer,
    }
    for module in ("pandas", "pandas.core.arrays.string_"):
        pairs[module, "StringDtype"] = _nothing
    for module, name in (
        ("pandas.arrays", "StringArray"),
        ("pandas.core.arrays.string_", "StringArray"),
        ("pandas.core.arrays.string_", "StringArrayNumpySemantics"),
        ("pandas.arrays", "ArrowStringArray"),
        ("pandas.core.arrays.string_arrow", "ArrowStringArray"),
        ("pandas.core.arrays.string_arrow", "ArrowStringArrayNumpySemantics"),
    ):
        pairs[module, name] = _text
    return pairs


TEXT_VOCABULARY: Final = _vocabulary()
