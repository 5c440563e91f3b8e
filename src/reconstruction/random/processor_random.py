"""The numbers of `KeyedRandom` on a processor: NumPy's log, sin and cos take half the time of torch's there.

The words are those of the accelerators, bit for bit; normal numbers differ from theirs by the rounding of log, sin and
cos. One thread draws: two wait for each other at every short step, and are slower.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Final

import numpy as np
from numpy.typing import NDArray

Words = NDArray[np.uint64]
HalfWords = NDArray[np.int32]
Numbers = NDArray[np.float32]
Convert = Callable[[HalfWords, Numbers, Numbers], None]
"""Turns 32-bit words into numbers of the last argument; may overwrite words and scratch, all (event, number)."""

# SplitMix64: Steele, Lea, Flood, Fast splittable pseudorandom number generators, OOPSLA 2014 (constants of "mix13").
GOLDEN: Final = 0x9E3779B97F4A7C15
MIX: Final = ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB))
LAST_SHIFT: Final = 31

# Words of one block of work: with its scratch and its numbers it stays in a core's cache.
_BLOCK: Final = 1 << 16


def fill(keys: Words, convert: Convert, out: Numbers) -> None:
    """Fill `out` (event, 2 · word) with the numbers of the words h(key + j·golden), j = 1, 2, …; keys (event,)."""
    pairs = out.shape[1] // 2
    counter = np.arange(1, pairs + 1, dtype=np.uint64) * np.uint64(GOLDEN)
    rows = min(len(keys), max(1, _BLOCK // max(pairs, 1)))
    words = np.empty((rows, pairs), np.uint64)
    scratch = np.empty_like(words)
    for start in range(0, len(keys), max(rows, 1)):
        numbers = out[start : start + rows]
        part, spare = words[: len(numbers)], scratch[: len(numbers)]
        np.add(keys[start : start + rows, None], counter, out=part)
        _mix(part, spare)
        convert(part.view(np.int32), spare.view(np.float32), numbers)


def mix(words: Words) -> Words:
    """Return words hashed one by one: SplitMix64's finaliser."""
    mixed = words.copy()
    _mix(mixed, np.empty_like(mixed))
    return mixed


def _mix(words: Words, scratch: Words) -> None:
    """Hash words one by one, in place: SplitMix64's finaliser."""
    for shift, factor in MIX:
        _xor_shift(words, shift, scratch)
        np.multiply(words, np.uint64(factor), out=words)
    _xor_shift(words, LAST_SHIFT, scratch)


def _xor_shift(words: Words, shift: int, scratch: Words) -> None:
    np.right_shift(words, np.uint64(shift), out=scratch)
    np.bitwise_xor(words, scratch, out=words)


def unit_interval(words: HalfWords, scratch: Numbers, out: Numbers) -> None:
    """Write the upper 24 bits of each word as a fraction."""
    unsigned = words.view(np.uint32)
    np.right_shift(unsigned, np.uint32(8), out=unsigned)
    np.copyto(out, words, casting="unsafe")
    np.multiply(out, np.float32(2.0**-24), out=out)


def box_muller(words: HalfWords, scratch: Numbers, out: Numbers) -> None:
    """Write √(−2 ln u) cos φ and √(−2 ln u) sin φ: u in (0, 1] from the first half of the words, φ from the second."""
    half = words.shape[-1] // 2
    magnitude, phase = scratch[:, :half], scratch[:, half:]
    _magnitude(words[:, :half], magnitude)
    _phase(words[:, half:], phase)
    np.multiply(np.cos(phase, out=out[:, :half]), magnitude, out=out[:, :half])
    np.multiply(np.sin(phase, out=out[:, half:]), magnitude, out=out[:, half:])


def half_of_pairs(keys: Words, begin: int, end: int, pairs: int, cosine: bool) -> Numbers:
    """Return the cosines, or the sines, of pairs `begin` to `end` of `pairs`, as `box_muller` makes them."""
    magnitude = np.empty((len(keys), end - begin), np.float32)
    phase = np.empty_like(magnitude)
    _magnitude(_half_words(keys, begin, end), magnitude)
    _phase(_half_words(keys, pairs + begin, pairs + end), phase)
    numbers: Numbers = np.cos(phase) if cosine else np.sin(phase)
    return np.multiply(numbers, magnitude, out=numbers)


def _magnitude(words: HalfWords, out: Numbers) -> None:
    """Write √(−2 ln u); 31 bits without the sign keep the relative precision of a small u, the tail."""
    np.bitwise_and(words, np.int32((1 << 31) - 1), out=words)
    np.copyto(out, words, casting="unsafe")
    np.multiply(out, np.float32(2.0**-31), out=out)
    np.add(out, np.float32(2.0**-32), out=out)
    np.multiply(np.log(out, out=out), np.float32(2.0), out=out)
    np.sqrt(np.abs(out, out=out), out=out)


def _phase(words: HalfWords, out: Numbers) -> None:
    np.copyto(out, words, casting="unsafe")
    np.multiply(out, np.float32(math.pi * 2.0**-31), out=out)


def _half_words(keys: Words, begin: int, end: int) -> HalfWords:
    """Return the 32-bit halves `begin` to `end` of the words of these keys."""
    words = keys[:, None] + np.arange(begin // 2 + 1, (end + 1) // 2 + 1, dtype=np.uint64) * np.uint64(GOLDEN)
    _mix(words, np.empty_like(words))
    return words.view(np.int32)[:, begin % 2 :][:, : end - begin]
