"""The order of an epoch over many files: every apparatus as often as the others, and few files read at a time."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Places = NDArray[np.int64]

AT_ONCE = 32
"""Blocks whose rows are mixed: a batch is drawn from so many, of as many files as there are, up to that."""


@dataclass(frozen=True)
class Blocks:
    """What a shuffle in blocks knows.

    owner: (rows,) the file of each row. rows: neighbouring rows of one file that make a block. at_once: blocks whose
    rows are mixed with each other.
    """

    owner: Places
    rows: int
    at_once: int = AT_ONCE


def balanced(groups: Places, size: int, random: np.random.Generator) -> tuple[Places, Places]:
    """Return `size` places in random order, of each group equally many, and how often each was drawn before.

    groups: (rows,) the group of each row. Equally many is to one; the rows of a group come equally often, to one. Which
    groups and rows come once more is drawn.
    """
    known, group = np.unique(groups, return_inverse=True)
    share = np.full(len(known), size // len(known))
    share[random.permutation(len(known))[: size % len(known)]] += 1
    places, repeats = [], []
    for number, count in enumerate(share):
        rows = np.flatnonzero(group == number)
        passes = -(-int(count) // len(rows))
        places.append(np.concatenate([random.permutation(rows) for _ in range(passes)])[:count] if passes else rows[:0])
        repeats.append(np.arange(count) // len(rows))
    order = random.permutation(size)
    return np.concatenate(places)[order], np.concatenate(repeats)[order]


def in_blocks(places: Places, blocks: Blocks, random: np.random.Generator) -> Places:
    """Return an order (draws,) of draws at `places` in which few parts of files are read at a time.

    The draws of each file are cut into blocks of neighbours, the blocks of all files shuffled, and the draws of
    `at_once` blocks at a time shuffled among each other.
    """
    owner = blocks.owner[places]
    by_place = np.lexsort((places, owner))
    starts = np.flatnonzero(np.r_[True, np.diff(owner[by_place]) != 0])
    within = np.arange(len(places)) - np.repeat(starts, np.diff(np.r_[starts, len(places)]))
    begins = np.flatnonzero(within % blocks.rows == 0)
    parts = np.split(by_place, begins[1:])
    order = random.permutation(len(parts))
    windows = [order[first : first + blocks.at_once] for first in range(0, len(order), blocks.at_once)]
    return np.concatenate([random.permutation(np.concatenate([parts[part] for part in window])) for window in windows])
