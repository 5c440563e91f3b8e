"""A learning rate for a model and its data, found by raising it step by step until the loss no longer falls.

Smith 2017, arXiv:1506.01186: the rate rises exponentially over one short run; the largest useful one lies where the
smoothed loss falls most steeply.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Iterable
from itertools import chain, islice, repeat
from typing import Any, NamedTuple

import torch

from reconstruction.errors import UserError
from reconstruction.training.learning.learner import Learner

LOWEST, HIGHEST = 1e-6, 1.0
DIVERGED = 4.0
"""The run ends when the smoothed loss has risen by this much above its best."""


class RateScan(NamedTuple):
    """Learning rates of the scan, the smoothed losses at them, and the rate to use."""

    rates: list[float]
    losses: list[float]
    suggestion: float


def scan_rates(module: Learner, loader: Iterable[Any], steps: int = 100, smoothing: float = 0.9) -> RateScan:
    """Train a copy of a module, whose scalers are fitted, at rising rates; the module stays as it is.

    The ratio of the rates of the optimiser's groups is kept. Raises UserError when the loss never falls.
    """
    trial = copy.deepcopy(module).train()
    device = trial.reconstructor.target_scaler.scale.device
    optimiser = trial.make_optimiser()
    peaks = [group["lr"] / optimiser.param_groups[0]["lr"] for group in optimiser.param_groups]
    rates: list[float] = []
    losses: list[float] = []
    average = 0.0
    for step, batch in enumerate(islice(chain.from_iterable(repeat(loader)), steps)):
        rate = LOWEST * (HIGHEST / LOWEST) ** (step / max(1, steps - 1))
        loss = _step(
            trial, trial.transfer_batch_to_device(batch, device, 0), optimiser, [rate * peak for peak in peaks]
        )
        average = smoothing * average + (1 - smoothing) * loss
        smooth = average / (1 - smoothing ** (step + 1))
        if not math.isfinite(loss) or (losses and smooth > min(losses) + DIVERGED):
            break
        rates.append(rate)
        losses.append(smooth)
    return RateScan(rates, losses, _steepest(rates, losses))


def _step(trial: Learner, batch: Any, optimiser: torch.optim.Optimizer, rates: list[float]) -> float:
    for group, rate in zip(optimiser.param_groups, rates, strict=True):
        group["lr"] = rate
    optimiser.zero_grad()
    loss = trial.objective(trial.inject(batch, 0), batch)[0]
    loss.backward()
    optimiser.step()
    return float(loss.detach())


def _steepest(rates: list[float], losses: list[float]) -> float:
    """Return the rate in the middle of the steepest descent over a factor of about two in the rate."""
    window = max(1, len(rates) // 20)
    falls = [losses[i] - losses[i + window] for i in range(len(losses) - window)]
    if not falls or max(falls) <= 0:
        raise UserError("the loss does not fall at any learning rate: look at data, targets and views first")
    best = falls.index(max(falls))
    return math.sqrt(rates[best] * rates[best + window])
