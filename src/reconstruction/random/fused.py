"""The numbers of `KeyedRandom` on a GPU, in one kernel: the words are those of all devices, bit for bit.

Each program draws a stretch of one event's numbers, in registers; none of it depends on another. `log`, `cos` and `sin`
are those of CUDA's library to the last bits, not the approximations of the card: Triton 3.2 and 3.6 take the former for
float32 (looked up in what they compile). Sizes are not specialised: a kernel that is made once serves every draw. Only
what starts these kernels imports this module: it needs Triton.
"""

from __future__ import annotations

import math
from typing import no_type_check

import torch
import triton
import triton.language as tl
from torch import Tensor

from reconstruction.random import processor_random
from reconstruction.shapes import EventIds, Float

_WORDS = 512
"""64-bit words of a program, each of which makes two numbers, or its half of two pairs of them."""

GOLDEN = tl.constexpr(processor_random.GOLDEN)
SHIFT_1, FACTOR_1 = (tl.constexpr(value) for value in processor_random.MIX[0])
SHIFT_2, FACTOR_2 = (tl.constexpr(value) for value in processor_random.MIX[1])
SHIFT_3 = tl.constexpr(processor_random.LAST_SHIFT)
SIGNLESS = tl.constexpr((1 << 31) - 1)
UNIT_24, UNIT_31, UNIT_32 = (tl.constexpr(2.0**-bits) for bits in (24, 31, 32))
PHASE_UNIT = tl.constexpr(math.pi * 2.0**-31)


def keys(event_id: EventIds, base: int) -> EventIds:
    """Return the key h(h(event id) + base) of each event."""
    event_id = event_id.contiguous()
    found = torch.empty_like(event_id)
    count = len(event_id)
    with torch.cuda.device_of(found):
        _keys[(-(-count // _WORDS),)](event_id, found, base, count, _WORDS)
    return found


def fill_uniform(keys: EventIds, out: Float[Tensor, "event number"]) -> None:
    """Fill with numbers uniform in [0, 1): `keyed.fill` with `keyed.unit_interval`."""
    count = out.shape[1]
    blocks = -(-count // (2 * _WORDS))
    with torch.cuda.device_of(out):
        _uniform[(len(out) * blocks,)](keys.contiguous(), out, *out.stride(), count, blocks, _WORDS)


def fill_normal(keys: EventIds, out: Float[Tensor, "event number"]) -> None:
    """Fill with standard normal numbers: `keyed.fill` with `keyed.box_muller`."""
    pairs = out.shape[1] // 2
    _draw_pairs(keys, 0, pairs, pairs, pairs, out, cosine=True, sine=True)


def half_of_pairs(keys: EventIds, begin: int, end: int, pairs: int, cosine: bool) -> Float[Tensor, "event number"]:
    """Return the cosines, or the sines, of pairs `begin` to `end` of `pairs`: `keyed.half_of_pairs`."""
    out = torch.empty(len(keys), end - begin, dtype=torch.float32, device=keys.device)
    _draw_pairs(keys, begin, end, pairs, 0, out, cosine=cosine, sine=not cosine)
    return out


def _draw_pairs(
    keys: Tensor, begin: int, end: int, pairs: int, sines_from: int, out: Tensor, cosine: bool, sine: bool
) -> None:
    words = (end + 1) // 2 - begin // 2
    blocks = -(-words // _WORDS)
    sizes = (begin, end, pairs, sines_from, blocks)
    with torch.cuda.device_of(out):
        _normal[(len(out) * blocks,)](
            keys.contiguous(), out, *out.stride(), *sizes, pairs % 2 == 1, cosine, sine, _WORDS
        )


@triton.jit
@no_type_check
def mixed(word):
    """SplitMix64's finaliser, of unsigned words."""
    word = (word ^ (word >> SHIFT_1)) * FACTOR_1
    word = (word ^ (word >> SHIFT_2)) * FACTOR_2
    return word ^ (word >> SHIFT_3)


@triton.jit
@no_type_check
def drawn(key, place):
    """Return word `place` of the key's sequence, from 0 on, as its lower and its upper half."""
    word = mixed(key + (place + 1).to(tl.uint64) * GOLDEN)
    return word.to(tl.uint32), (word >> 32).to(tl.uint32)


@triton.jit(do_not_specialize=["base", "count"])
@no_type_check
def _keys(events, keys, base, count, WORDS: tl.constexpr):
    place = tl.program_id(0) * WORDS + tl.arange(0, WORDS)
    event = tl.load(events + place, mask=place < count, other=0).to(tl.uint64, bitcast=True)
    key = mixed(mixed(event) + base.to(tl.int64).to(tl.uint64, bitcast=True))
    tl.store(keys + place, key.to(tl.int64, bitcast=True), mask=place < count)


@triton.jit(do_not_specialize=["event_stride", "count", "blocks"])
@no_type_check
def _uniform(keys, numbers, event_stride, number_stride, count, blocks, WORDS: tl.constexpr):
    """The upper 24 bits of each half of a word, as a fraction."""
    event = (tl.program_id(0) // blocks).to(tl.int64)
    first = (tl.program_id(0) % blocks).to(tl.int64) * WORDS
    key = tl.load(keys + event).to(tl.uint64, bitcast=True)
    lower, upper = drawn(key, first + tl.arange(0, WORDS))
    fraction = (tl.interleave(lower, upper) >> 8).to(tl.float32) * UNIT_24
    place = 2 * first + tl.arange(0, 2 * WORDS)
    tl.store(numbers + event * event_stride + place * number_stride, fraction, mask=place < count)


@triton.jit(do_not_specialize=["event_stride", "begin", "end", "pairs", "sines_from", "blocks"])
@no_type_check
def _normal(
    keys,
    numbers,
    event_stride,
    number_stride,
    begin,
    end,
    pairs,
    sines_from,
    blocks,
    ODD: tl.constexpr,
    COSINE: tl.constexpr,
    SINE: tl.constexpr,
    WORDS: tl.constexpr,
):
    """Box and Muller of pairs `begin` to `end`: magnitudes from the first `pairs` half words, phases from the others.

    A word makes two pairs. Of an odd number of pairs the phases begin in the middle of a word.
    """
    event = (tl.program_id(0) // blocks).to(tl.int64)
    first = (tl.program_id(0) % blocks).to(tl.int64) * WORDS + begin // 2
    key = tl.load(keys + event).to(tl.uint64, bitcast=True)
    word = first + tl.arange(0, WORDS)

    lower, upper = drawn(key, word)
    bits = tl.interleave(lower, upper) & SIGNLESS
    magnitude = tl.sqrt_rn(tl.abs(tl.log(bits.to(tl.float32) * UNIT_31 + UNIT_32) * 2.0))

    lower, upper = drawn(key, word + pairs // 2)
    if ODD:
        lower, upper = upper, drawn(key, word + pairs // 2 + 1)[0]
    phase = tl.interleave(lower, upper).to(tl.int32, bitcast=True).to(tl.float32) * PHASE_UNIT

    pair = 2 * first + tl.arange(0, 2 * WORDS)
    inside = (pair >= begin) & (pair < end)
    place = numbers + event * event_stride + (pair - begin) * number_stride
    if COSINE:
        tl.store(place, magnitude * tl.cos(phase), mask=inside)
    if SINE:
        tl.store(place + sines_from * number_stride, magnitude * tl.sin(phase), mask=inside)
