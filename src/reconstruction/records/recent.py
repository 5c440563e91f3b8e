"""What is kept because it was used last: open files, rows in memory."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)
Kept = TypeVar("Kept")


def _nothing(kept: object) -> int:
    return 0


def _leave(kept: object) -> None:
    pass


class RecentlyUsed(Generic[Key, Kept]):
    """Things that are made when they are asked for, of which those that were used last are kept.

    most: how many, at least one. most_bytes: how much of memory they may take together by `size`; what is larger by
    itself is not kept. forget: what is done to one that is not kept any more.
    """

    def __init__(
        self,
        most: int,
        most_bytes: int | None = None,
        size: Callable[[Kept], int] | None = None,
        forget: Callable[[Kept], None] | None = None,
    ) -> None:
        self.most = max(1, most)
        self.most_bytes = most_bytes
        self._size = size or _nothing
        self._forget = forget or _leave
        self._kept: OrderedDict[Key, Kept] = OrderedDict()
        self.bytes = 0
        """What is kept, by `size`."""

    def __len__(self) -> int:
        return len(self._kept)

    def __contains__(self, key: object) -> bool:
        return key in self._kept

    def get(self, key: Key, make: Callable[[], Kept]) -> Kept:
        """Return what is kept of a name, or what `make` returns, which is kept from now on."""
        if key in self._kept:
            self._kept.move_to_end(key)
            return self._kept[key]
        made = make()
        self._kept[key] = made
        self.bytes += self._size(made)
        while len(self._kept) > self.most or (self.most_bytes is not None and self.bytes > self.most_bytes):
            self._drop(next(iter(self._kept)), made)
        return made

    def _drop(self, key: Key, in_use: Kept) -> None:
        dropped = self._kept.pop(key)
        self.bytes -= self._size(dropped)
        if dropped is not in_use:  # who asked for it still needs it
            self._forget(dropped)

    def clear(self) -> None:
        """Forget all."""
        for kept in self._kept.values():
            self._forget(kept)
        self._kept.clear()
        self.bytes = 0
