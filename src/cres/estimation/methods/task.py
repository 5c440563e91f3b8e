"""What is asked of an estimator, and the frame in which each runs: blocks, timing, training rows."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch

from cres.errors import UserError
from cres.estimation.apparatus import Apparatus
from cres.estimation.bound.electrons import TIED
from cres.estimation.estimates import Estimated, joined
from cres.estimation.methods.recordings import FRACTIONS, Recordings, Rows
from cres.estimation.placement import AUTO, choose_device
from cres.estimation.search.matched_filter import FALSE_ALARM_PROBABILITY
from cres.simulation.config import SimulationConfig
from cres.simulation.forward import size_for
from cres.transforms.views import SIGNAL_BAND_HZ
from reconstruction.clock import wall_seconds

BLOCK = {"cpu": 64, "cuda": 1024}
"""Electrons that are estimated together, by kind of device."""
FIT_BLOCK = {"cpu": 256, "cuda": 1024}
"""Fits run side by side: what a call costs is shared by many electrons."""


@dataclass(frozen=True)
class Task:
    """What is asked for: which electrons, which noise, which apparatus."""

    data: str | list[str]
    method: str
    split: str = "test"
    first: int = 0
    """Electrons of the split to skip."""
    limit: int | None = None
    training_electrons: int = 4000
    band_hz: tuple[float, float] = SIGNAL_BAND_HZ
    noise_scale: float = 1.0
    noise_spectrum: str | None = None
    """Table of the noise's spectrum, see `cres.estimation.noise`; None: white."""
    noise_seed: int = 0
    split_seed: int = 0
    fractions: tuple[float, float, float] = FRACTIONS
    network: str | None = None
    """Predictions table that seeds the likelihood."""
    false_alarm_probability: float = FALSE_ALARM_PROBABILITY
    bound: str = TIED
    """What the bound takes the radiated loss to be: one of `cres.estimation.bound.electrons.BOUNDS`."""
    bound_free: tuple[str, ...] = ()
    """What it frees besides: of `cres.estimation.bound.electrons.ALSO_FREE`."""
    gain_std: float | None = None
    """Relative standard deviation of what is known of the gain; None: what the apparatus says."""
    device: str = AUTO
    """Where the records are estimated: a device of torch, or `auto`, the GPU where there is one."""


def config_of(recordings: Recordings) -> SimulationConfig | None:
    """Return the apparatus that the data say they were simulated with, None where a file does not say it.

    Raises UserError for files of several traps.
    """
    first, *others = recordings.records.files
    stated = _stated(first.attributes)
    for file in others:
        if (_stated(file.attributes) or {}).get("trap") != (stated or {}).get("trap"):
            raise UserError(f"{first.path} and {file.path} are not of one trap: estimate them apart")
    return None if stated is None else SimulationConfig.from_dict(stated)


def _stated(attributes: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the simulation's configuration in a file's attributes, None where it names no trap."""
    try:
        content = json.loads(str(attributes.get("config", "{}")))
    except json.JSONDecodeError:
        return None
    return content if isinstance(content, dict) and "trap" in content else None


def timed_blocks(
    task: Task,
    recordings: Recordings,
    rows: Rows,
    estimate: Callable[[torch.Tensor, Rows], Estimated],
    description: str,
    block: dict[str, int] = BLOCK,
) -> tuple[Estimated, float]:
    """Estimate block by block; return all estimates and the wall seconds spent in the estimator alone."""
    parts, seconds, device = [], 0.0, choose_device(task.device)
    for part, series in recordings.blocks(rows, size_for(block, device), description):
        there = series.to(device)
        begin = wall_seconds(device)
        parts.append(estimate(there, part))
        seconds += wall_seconds(device) - begin
    return joined(parts), seconds


def training_rows(task: Task, recordings: Recordings) -> Rows:
    """Return the training electrons that curves and spreads are fitted on."""
    return recordings.rows("train", task.training_electrons)


def with_gain_std(task: Task, config: SimulationConfig) -> SimulationConfig:
    """Return the apparatus with what is known of its gain, where the task says it."""
    if task.gain_std is None:
        return config
    return dataclasses.replace(config, readout=dataclasses.replace(config.readout, gain_std=task.gain_std))


def apparatus_of(task: Task, config: SimulationConfig) -> Apparatus:
    """Return the apparatus with the noise that the records carry: nominal where none is injected."""
    return Apparatus.from_config(config, task.noise_scale or 1.0, choose_device(task.device))
