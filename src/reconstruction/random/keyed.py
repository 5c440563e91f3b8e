"""Random numbers keyed by event: fresh for training, frozen for judging, the same on every device.

The numbers of an event depend on (seed, epoch, event id, stream) and the requested shape, and on nothing else: not on
the batch around it, its order, the rank, the worker or the device (up to the rounding of log and cos).
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from reconstruction.kernels import usable
from reconstruction.random import processor_random
from reconstruction.shapes import EventIds

FROZEN_EPOCH = -1
"""The epoch of validation and test noise: it never advances, so a score is a property of the weights.

Those below it are further noise to judge by, independent of this one and of all trainings.
"""

Convert = Callable[[Tensor, Tensor, Tensor], None]
"""Turns 32-bit words into numbers of the last argument; may overwrite words and scratch, all (event, number)."""

_WORD = 1 << 64


def _signed(word: int) -> int:
    """Return the two's complement value of a 64-bit word; torch has no unsigned 64-bit arithmetic."""
    return word - _WORD if word >= _WORD // 2 else word


_GOLDEN = _signed(processor_random.GOLDEN)
_MIX = tuple((shift, _signed(factor)) for shift, factor in processor_random.MIX)


def _xor_shift_(words: Tensor, shift: int, scratch: Tensor) -> Tensor:
    """Change words to words ^ (words >> shift) with a logical shift, in place."""
    torch.bitwise_right_shift(words, shift, out=scratch)
    return words.bitwise_xor_(scratch.bitwise_and_((1 << (64 - shift)) - 1))


def _mix64_(words: Tensor, scratch: Tensor) -> Tensor:
    for shift, factor in _MIX:
        _xor_shift_(words, shift, scratch).mul_(factor)
    return _xor_shift_(words, processor_random.LAST_SHIFT, scratch)


def mix64(words: Tensor) -> Tensor:
    """Hash 64-bit words one by one (bijective, every output bit depends on every input bit): SplitMix64's finaliser."""
    return _mix64_(words.clone(), torch.empty_like(words))


def _digest(text: str) -> int:
    return _signed(int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little"))


class KeyedRandom:
    """Random numbers for the events of one batch, without state: the same call gives the same numbers.

    The key of an event is h(h(event id) + blake2b(seed, epoch, scope, stream)), its words are h(key + j·golden),
    j = 1, 2, …, with h SplitMix64's finaliser: the streams are parts of one sequence of period 2⁶⁴.
    """

    def __init__(
        self, seed: int, epoch: int, event_id: EventIds, device: torch.device | str | None = None, scope: str = ""
    ) -> None:
        """Take the event ids (batch,) and the device on which to draw (default: the device of the ids)."""
        self.seed = int(seed)
        self.epoch = int(epoch)
        self.event_id = event_id.to(device=device, dtype=torch.int64)
        self.scope = scope

    def __len__(self) -> int:
        return len(self.event_id)

    @property
    def device(self) -> torch.device:
        """Where the numbers are drawn."""
        return self.event_id.device

    def scoped(self, name: str) -> KeyedRandom:
        """Return a source of other, independent numbers for the same events."""
        return KeyedRandom(self.seed, self.epoch, self.event_id, scope=f"{self.scope}/{name}")

    def normal(self, *shape_per_event: int, stream: str) -> Tensor:
        """Return standard normal numbers (batch, *shape_per_event), float32 (Box–Muller, tails to 6.6 σ)."""
        return self._draw(shape_per_event, stream, processor_random.box_muller, box_muller)

    def normal_part(self, start: int, count: int, *shape_per_event: int, stream: str) -> Tensor:
        """Return rows `start` to `start + count` of what `normal` returns, without drawing the others."""
        if count == shape_per_event[0]:
            return self.normal(*shape_per_event, stream=stream)
        row, pairs = math.prod(shape_per_event[1:]), (math.prod(shape_per_event) + 1) // 2
        first, last = start * row, (start + count) * row
        # the first half of the numbers are cosines, the second half the sines of the same pairs
        runs = [(first, min(last, pairs), True), (max(first, pairs) - pairs, last - pairs, False)]
        keys = self._processor_keys(stream) if self.device.type == "cpu" else self._keys(stream)
        parts = [self._half_of_pairs(keys, begin, end, pairs, cosine) for begin, end, cosine in runs if begin < end]
        return torch.cat(parts, dim=1).reshape(len(self), count, *shape_per_event[1:])

    def uniform(self, *shape_per_event: int, stream: str) -> Tensor:
        """Return numbers uniform in [0, 1) as (batch, *shape_per_event), float32."""
        return self._draw(shape_per_event, stream, processor_random.unit_interval, unit_interval)

    def _draw(
        self, shape: tuple[int, ...], stream: str, on_processor: processor_random.Convert, elsewhere: Convert
    ) -> Tensor:
        count = math.prod(shape)
        numbers = torch.empty(len(self), count + count % 2, dtype=torch.float32, device=self.device)
        if self.device.type == "cpu":
            processor_random.fill(self._processor_keys(stream), on_processor, numbers.numpy())
        else:
            fill(self._keys(stream), elsewhere, numbers)
        return (numbers if count % 2 == 0 else numbers[:, :count]).reshape(len(self), *shape)

    @staticmethod
    def _half_of_pairs(keys: Tensor | processor_random.Words, begin: int, end: int, pairs: int, cosine: bool) -> Tensor:
        """Return the cosines, or the sines, of pairs `begin` to `end` of `pairs`."""
        if isinstance(keys, Tensor):
            return half_of_pairs(keys, begin, end, pairs, cosine)
        return torch.from_numpy(processor_random.half_of_pairs(keys, begin, end, pairs, cosine))

    def _keys(self, stream: str) -> Tensor:
        base = self._base(stream)
        if usable(self.event_id):
            from reconstruction.random import fused  # imports Triton

            return fused.keys(self.event_id, base)
        return mix64(mix64(self.event_id) + base)

    def _processor_keys(self, stream: str) -> processor_random.Words:
        """Return the same keys, made by NumPy."""
        events = processor_random.mix(self.event_id.numpy().view(np.uint64))
        return processor_random.mix(events + np.uint64(self._base(stream) % _WORD))

    def _base(self, stream: str) -> int:
        return _digest(f"{self.seed}/{self.epoch}/{self.scope}/{stream}")


def fill(keys: Tensor, convert: Convert, out: Tensor) -> None:
    """Fill `out` (event, 2 · word) with the numbers of the words h(key + j·golden), j = 1, 2, …; keys (event,)."""
    if usable(keys, out):
        from reconstruction.random import fused  # imports Triton

        return (fused.fill_normal if convert is box_muller else fused.fill_uniform)(keys, out)
    counter = torch.arange(1, out.shape[1] // 2 + 1, device=out.device) * _GOLDEN
    words = keys[:, None] + counter
    scratch = torch.empty_like(words)
    _mix64_(words, scratch)
    return convert(words.view(torch.int32), scratch.view(torch.float32), out)


def unit_interval(words: Tensor, scratch: Tensor, out: Tensor) -> None:
    """Write the upper 24 bits of each word as a fraction."""
    words.bitwise_right_shift_(8).bitwise_and_((1 << 24) - 1)
    out.copy_(words).mul_(2.0**-24)


def box_muller(words: Tensor, scratch: Tensor, out: Tensor) -> None:
    """Write √(−2 ln u) cos φ and √(−2 ln u) sin φ: u in (0, 1] from the first half of the words, φ from the second."""
    half = words.shape[-1] // 2
    magnitude, phase = scratch[:, :half], scratch[:, half:]
    _magnitude(words[:, :half], magnitude)
    _phase(words[:, half:], phase)
    torch.cos(phase, out=out[:, :half]).mul_(magnitude)
    torch.sin(phase, out=out[:, half:]).mul_(magnitude)


def _magnitude(words: Tensor, out: Tensor) -> None:
    """Write √(−2 ln u); 31 bits without the sign keep the relative precision of a small u, the tail."""
    out.copy_(words.bitwise_and_((1 << 31) - 1)).mul_(2.0**-31).add_(2.0**-32)
    out.log_().mul_(2.0).abs_().sqrt_()


def _phase(words: Tensor, out: Tensor) -> None:
    out.copy_(words).mul_(math.pi * 2.0**-31)


def half_of_pairs(keys: Tensor, begin: int, end: int, pairs: int, cosine: bool) -> Float[Tensor, "event number"]:
    """Return the cosines, or the sines, of pairs `begin` to `end` of `pairs`, as `box_muller` makes them."""
    if usable(keys):
        from reconstruction.random import fused  # imports Triton

        return fused.half_of_pairs(keys, begin, end, pairs, cosine)
    magnitude = torch.empty(len(keys), end - begin, dtype=torch.float32, device=keys.device)
    phase = torch.empty_like(magnitude)
    _magnitude(_half_words(keys, begin, end), magnitude)
    _phase(_half_words(keys, pairs + begin, pairs + end), phase)
    return (phase.cos_() if cosine else phase.sin_()).mul_(magnitude)


def _half_words(keys: Tensor, begin: int, end: int) -> Tensor:
    """Return the 32-bit halves `begin` to `end` of the words of these keys (event,)."""
    counter = torch.arange(begin // 2 + 1, (end + 1) // 2 + 1, device=keys.device) * _GOLDEN
    return mix64(keys[:, None] + counter).view(torch.int32)[:, begin % 2 :][:, : end - begin]
