"""Random numbers by event: what an event draws depends on seed, split and its own number, and on nothing else.

A number is a hash of its place: batches, shards and devices change nothing, and none waits for another.
SplitMix64: Steele, Lea and Flood, OOPSLA 2014.
"""

from __future__ import annotations

import math
from typing import Any, Final

import numpy as np

from collider.showers.arrays import Arrays

_STEP: Final = 0x9E3779B97F4A7C15 - 2**64
_FIRST: Final = 0xBF58476D1CE4E5B9 - 2**64
_SECOND: Final = 0x94D049BB133111EB - 2**64
_ROUNDS: Final = 12
"""Trials of a gamma variate: one in 10^15 is not taken at any."""

# Streams of an event, far apart
FLUCTUATION, COUNTS, SAMPLING, SPOTS, DEPTHS, NOISE, SOURCE, RESPONSE, ENTRANCE = range(9)
_STREAM_BITS: Final = 44


def mixed(xp: Arrays, bits: Any) -> Any:
    """Return 64 bits (int64) stirred so that neighbours have nothing in common."""
    bits = (bits ^ xp.shifted(bits, 30)) * _FIRST
    bits = (bits ^ xp.shifted(bits, 27)) * _SECOND
    return bits ^ xp.shifted(bits, 31)


def event_keys(xp: Arrays, seed: int, split: int, event_id: Any) -> Any:
    """Return a key for each event, int64."""
    with np.errstate(over="ignore"):
        start = mixed(xp, xp.integers([seed * 4 + split + 1]) * _STEP)
        return mixed(xp, start + xp.integers(event_id) * _STEP)


def steps(places: Any) -> Any:
    """Return how far places are from the first of a stream, to be added to what `bits_start` returns."""
    with np.errstate(over="ignore"):
        return places * _STEP


def bits_start(keys: Any, stream: int, places: Any) -> Any:
    """Return where a key's numbers of a stream begin, at a place of it; keys and places broadcast."""
    return keys + steps(places + (stream << _STREAM_BITS))


def bits_of(xp: Arrays, keys: Any, stream: int, places: Any) -> Any:
    """Return 64 random bits for each key at places 0, 1, … of a stream; keys and places broadcast."""
    return mixed(xp, bits_start(keys, stream, places))


def uniforms(xp: Arrays, keys: Any, stream: int, places: Any) -> Any:
    """Return numbers between 0 and 1, both excluded, with 52 bits."""
    return (xp.floats(xp.shifted(bits_of(xp, keys, stream, places), 12)) + 0.5) * 2.0**-52


def pairs_at(xp: Arrays, where: Any) -> tuple[Any, Any]:
    """Return two float32 numbers between 0 and 1, both excluded, with 23 bits each, at places of streams."""
    bits = mixed(xp, where)
    first = xp.small_floats(xp.shifted(bits, 41))
    second = xp.small_floats(xp.shifted(bits, 18) & 0x7FFFFF)
    return (first + 0.5) * 2.0**-23, (second + 0.5) * 2.0**-23


def normals(xp: Arrays, keys: Any, stream: int, places: Any) -> tuple[Any, Any]:
    """Return two independent unit normals at each place (Box and Muller)."""
    radius = xp.sqrt(-2 * xp.log(uniforms(xp, keys, stream, 2 * places)))
    angle = 2 * math.pi * uniforms(xp, keys, stream, 2 * places + 1)
    return radius * xp.cos(angle), radius * xp.sin(angle)


def gammas(xp: Arrays, keys: Any, stream: int, places: Any, shape: Any) -> Any:
    """Return gamma variates of unit scale (Marsaglia and Tsang, ACM TOMS 26 (2000) 363); 0 where the shape is 0."""
    small = shape < 1
    positive = shape > 0
    tried = xp.where(positive, xp.where(small, shape + 1, shape), xp.ones_like(shape))
    d = tried - 1 / 3
    c = 1 / xp.sqrt(9 * d)
    taken, found = shape < 0, d
    for trial in range(_ROUNDS):
        place = (places * (_ROUNDS + 1) + trial) * 2
        normal = normals(xp, keys, stream, place)[0]
        cube = xp.clip(1 + c * normal, 1e-30, None) ** 3
        accept = xp.log(uniforms(xp, keys, stream, 2 * place + 2)) < normal**2 / 2 + d * (1 - cube + xp.log(cube))
        new = accept & ~taken & (c * normal > -1)
        found, taken = xp.where(new, d * cube, found), taken | new
    last = (places * (_ROUNDS + 1) + _ROUNDS) * 4
    safe = xp.where(positive & small, shape, xp.ones_like(shape))
    factor = uniforms(xp, keys, stream, last) ** (1 / safe)
    return xp.where(positive, xp.where(small, found * factor, found), xp.zeros_like(shape))
