"""Which row is for training, which for validation, which for the test."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from reconstruction.errors import UserError

Rows = NDArray[np.int64]


@dataclass(frozen=True)
class Split:
    """Row numbers of the three parts; no row is in two of them."""

    train: Rows
    validation: Rows
    test: Rows


def split_by_event(event_ids: Rows, content: Rows, fractions: Sequence[float], seed: int) -> Split:
    """Return a split by fractions that is decided row by row, from (seed, event id) alone.

    Rows with the same event id or the same content stay together, so that a row is in one part only. The share
    of each part is exact to a row or two, and does not depend on the order of the rows.
    """
    require_fractions(fractions)
    groups = _groups(event_ids, content)
    ranks = np.array([_key(seed, int(event)) for event in event_ids], np.uint64)
    group_rank = np.full(groups.max() + 1, np.iinfo(np.uint64).max, np.uint64)
    np.minimum.at(group_rank, groups, ranks)
    order = np.argsort(group_rank, kind="stable")
    position = np.empty(len(order), np.int64)
    position[order] = np.arange(len(order))
    first = round(fractions[0] * len(order))
    second = round((fractions[0] + fractions[1]) * len(order))
    place = position[groups]
    end = len(order) if sum(fractions) > 1 - 1e-9 else round(sum(fractions) * len(order))
    return Split(
        np.flatnonzero(place < first),
        np.flatnonzero((place >= first) & (place < second)),
        np.flatnonzero((place >= second) & (place < end)),
    )


def split_by_file(
    starts: Rows, event_ids: Rows, content: Rows, fractions: Sequence[float], seed: int, names: Sequence[str]
) -> Split:
    """Return a split in which each file is in one part only; `starts` are the first rows of the files and the end.

    Raises UserError where two files of different parts hold the same row: that would be no independent test.
    """
    require_fractions(fractions)
    sizes = np.diff(starts)
    order = sorted(range(len(sizes)), key=lambda file: _key(seed, file))
    middle = (np.cumsum(sizes[order]) - sizes[order] / 2) / sizes.sum()
    part_of_file = np.empty(len(sizes), np.int64)
    part_of_file[order] = np.searchsorted(np.cumsum(fractions), middle, side="right")
    part = np.repeat(part_of_file, sizes)
    groups = _groups(event_ids, content)
    lowest = np.full(groups.max() + 1, len(fractions) + 1)
    np.minimum.at(lowest, groups, part)
    torn = np.flatnonzero(part != lowest[groups])
    if len(torn):
        row = int(torn[0])
        other = int(np.flatnonzero((groups == groups[row]) & (part == lowest[groups[row]]))[0])
        files = [names[int(np.searchsorted(starts, place, side="right")) - 1] for place in (other, row)]
        raise UserError(f"{files[0]} and {files[1]} hold the same row, so they cannot be in two parts of a split")
    return Split(*(np.flatnonzero(part == number) for number in range(3)))


def within_files(split: Split, starts: Rows, files: Sequence[Path], only: Sequence[str]) -> Split:
    """Return what a split of all files holds of some of them, by path or name; `starts` as in `split_by_file`.

    Raises UserError for a name that is no file of the data.
    """
    chosen = np.zeros(len(files), bool)
    for name in only:
        found = [str(path) == name or path.name == name for path in files]
        if not any(found):
            raise UserError(f"data.only names {name}, which is none of the {len(files)} files of the data")
        chosen |= found
    parts = (split.train, split.validation, split.test)
    return Split(*(rows[chosen[np.searchsorted(starts, rows, side="right") - 1]] for rows in parts))


def require_fractions(fractions: Sequence[float]) -> None:
    """Raise UserError for shares of training, validation and test that cannot be meant."""
    if len(fractions) != 3 or not (min(fractions) >= 0 and sum(fractions) <= 1 + 1e-9):
        raise UserError(f"fractions are three numbers of 0 or more with a sum of 1 or less, not {list(fractions)}")


def _key(seed: int, event: int) -> int:
    digest = hashlib.blake2b(f"{seed}:{event}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little")


def _groups(event_ids: Rows, content: Rows) -> Rows:
    """Return the number of the group of each row: rows that share an event id or a content are one group."""
    _, by_event = np.unique(event_ids, return_inverse=True)
    _, by_content = np.unique(content, return_inverse=True)
    if by_event.max() + 1 == len(event_ids) == by_content.max() + 1:
        return by_event
    size = by_event.max() + 1 + by_content.max() + 1
    links = coo_array((np.ones(len(event_ids)), (by_event, by_event.max() + 1 + by_content)), (size, size))
    _, labels = connected_components(links, directed=False)
    _, groups = np.unique(labels[by_event], return_inverse=True)
    return groups
