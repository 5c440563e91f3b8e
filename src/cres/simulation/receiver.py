"""Receiver effects in simulated records, by the same transforms and names that training injects.

Data are noiseless unless the configuration lists effects. Their numbers are keyed by event id: the same electron has
the same noise whatever the file, the number of workers or the order, and other noise than a training adds.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

import cres.transforms
from cres import schema
from cres.errors import UserError, nearest
from cres.transforms import (
    FROZEN_EPOCH,
    KeyedRandom,
    Quantise,
    RandomChain,
    RandomTransform,
    ShapedNoise,
    ThermalNoise,
    WhiteNoise,
)
from reconstruction.shapes import Series

PREFIX = "cres.transforms."
EFFECTS = {
    name: value
    for name, value in vars(cres.transforms).items()
    if inspect.isclass(value)
    and issubclass(value, RandomTransform)
    and not inspect.isabstract(value)
    and value is not RandomChain
}
ADDED_NOISE = (WhiteNoise, ThermalNoise, ShapedNoise)
"""What the noise scale of a read-out channel multiplies."""

SAMPLES_AT_A_TIME = 2**19
"""Rows are treated in blocks of so many samples; bounds the memory."""


@dataclass(frozen=True)
class ReceiverTerm:
    """One effect: `class_path` of `cres.transforms` and its `init_args`, as in a training's `model.noise`.

    What the rest of the configuration knows (sampling rate, local oscillator, resonance, Q, gain, resistance) is filled
    in where the effect takes it and `init_args` do not give it.
    """

    class_path: str = ""
    init_args: dict[str, Any] = field(default_factory=dict, hash=False)

    def build(self, facts: dict[str, Any]) -> RandomTransform:
        """Return the transform. Raises UserError for an unknown effect or argument."""
        name = self.class_path.removeprefix(PREFIX)
        if name not in EFFECTS:
            raise UserError(
                f"receiver: unknown effect {self.class_path!r}{nearest(name, EFFECTS)}: known are {', '.join(EFFECTS)}"
            )
        parameters = inspect.signature(EFFECTS[name]).parameters
        for argument in self.init_args:
            if argument not in parameters:
                raise UserError(
                    f"receiver: {name} has no argument {argument!r}{nearest(argument, parameters)}: it takes "
                    f"{', '.join(parameters) or 'none'}"
                )
        given = {key: _number(value) for key, value in self.init_args.items()}
        arguments = {key: value for key, value in facts.items() if key in parameters} | given
        missing = [
            key for key, p in parameters.items() if p.default is inspect.Parameter.empty and key not in arguments
        ]
        if missing:
            raise UserError(f"receiver: {name} needs {', '.join(missing)} in init_args")
        try:
            built: RandomTransform = EFFECTS[name](**arguments)
        except (TypeError, ValueError) as error:
            raise UserError(f"receiver: {name} cannot be made of {self.init_args}: {error}") from error
        return built


def _number(value: Any) -> Any:
    """Return the number of a text such as 25.9e9, which YAML 1.1 does not read as one; rows of tables as tuples."""
    if isinstance(value, list):
        return [tuple(_number(item)) if isinstance(item, list) else _number(item) for item in value]
    try:
        return float(value) if isinstance(value, str) else value
    except ValueError:
        return value


class _ChannelNoise(RandomTransform):
    """Noise whose density differs between read-out channels by factors."""

    std_scale: Tensor

    def __init__(self, noise: RandomTransform, noise_scales: Sequence[float]) -> None:
        super().__init__()
        self.noise = noise
        scale = torch.tensor(noise_scales, dtype=torch.float64).sqrt().repeat_interleave(2)
        self.register_buffer("std_scale", scale, persistent=False)

    def forward(self, series: Series, random: KeyedRandom, scale: float | Tensor = 1.0) -> Series:
        """Return series + noise."""
        std = self.std_scale.to(series.dtype)
        return self.noise(series / std, random.scoped(type(self.noise).__name__), scale) * std


def build_receiver(
    terms: Sequence[ReceiverTerm], facts: dict[str, Any], noise_scales: Sequence[float] = (1.0,)
) -> RandomChain:
    """Return the effects in their order; noise_scales: density of each read-out channel over the nominal one."""
    effects = [term.build(facts) for term in terms]
    if any(isinstance(effect, Quantise) for effect in effects[:-1]):
        raise UserError("receiver: the ADC (Quantise) comes last, after all noise")
    if any(scale != 1 for scale in noise_scales):
        effects = [_ChannelNoise(e, noise_scales) if isinstance(e, ADDED_NOISE) else e for e in effects]
    return RandomChain(effects)


@torch.no_grad()
def receive(columns: dict[str, NDArray[Any]], receiver: RandomChain, channels: int, seed: int) -> None:
    """Change the series in `columns` in place, float32 (rows, samples) volts of each of the read-out channels."""
    names = [name for channel in range(channels) for name in schema.series_columns(channel)]
    rows, samples = columns[names[0]].shape
    step = max(1, SAMPLES_AT_A_TIME // max(samples, 1))
    for begin in range(0, rows, step):
        block = slice(begin, begin + step)
        series = torch.from_numpy(np.stack([columns[name][block] for name in names], axis=-1))
        random = KeyedRandom(seed, FROZEN_EPOCH, torch.from_numpy(columns[schema.EVENT_ID][block]), scope="receiver")
        received = receiver(series, random)
        for index, name in enumerate(names):
            columns[name][block] = received[..., index].numpy()
