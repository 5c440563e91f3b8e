"""What a program prints may get lost, its work may not: a closed pipe or terminal does not end it."""

from __future__ import annotations

import contextlib
import os
import sys
from typing import Any


class LastingStream:
    """A text stream that goes on, into nothing, when nobody reads it any more (`| head`, a closed terminal)."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """Write, or lose, a text."""
        try:
            return int(self._stream.write(text))
        except OSError:
            self._into_nothing()
            return len(text)

    def flush(self) -> None:
        """Hand over what is written."""
        try:
            self._stream.flush()
        except OSError:
            self._into_nothing()

    def _into_nothing(self) -> None:
        """Let the file handle lead nowhere, for everything that writes to it past this object, too."""
        with contextlib.suppress(OSError, ValueError):
            nothing = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nothing, self._stream.fileno())
            os.close(nothing)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


@contextlib.contextmanager
def lasting_output() -> Any:
    """Let the standard streams outlast their readers."""
    before = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = LastingStream(before[0]), LastingStream(before[1])
    try:
        yield
    finally:
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        sys.stdout, sys.stderr = before
