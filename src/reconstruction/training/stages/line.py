"""Weights of several networks: their mean, and the loss along the line between two of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import torch
from torch import Tensor

from reconstruction.errors import UserError
from reconstruction.random.keyed import FROZEN_EPOCH
from reconstruction.records.loader import ResumableLoader
from reconstruction.training.learning.learner import Learner

State = Mapping[str, Tensor]


def between(one: State, other: State, share: float, learned: Sequence[str]) -> dict[str, Tensor]:
    """Return the state a share of the way from one to the other: its learned weights move, the rest is of the first."""
    moved = {name: torch.lerp(one[name].double(), other[name].double(), share).to(one[name].dtype) for name in learned}
    return {**one, **moved}


def mean_of(states: Sequence[State], learned: Sequence[str]) -> dict[str, Tensor]:
    """Return the state whose learned weights are the mean of those of all; the rest is of the first.

    Raises UserError where the networks are of different shapes.
    """
    first = states[0]
    for name in learned:
        if any(name not in state or state[name].shape != first[name].shape for state in states):
            raise UserError(f"the networks differ in the shape of {name}, so that they have no average")
    means = {name: torch.stack([state[name].double() for state in states]).mean(dim=0) for name in learned}
    return {**first, **{name: mean.to(first[name].dtype) for name, mean in means.items()}}


def learned_names(module: Learner) -> list[str]:
    """Return the names of a module's learned weights in its state."""
    return [name for name, _ in module.named_parameters()]


@torch.no_grad()
def loss_of(module: Learner, state: State, loader: ResumableLoader) -> float:
    """Return the mean loss of a state over the rows of a loader, with frozen nominal corruption."""
    module.load_state_dict(dict(state))
    module.eval()
    total = rows = 0.0
    for batch in loader:
        there = module.placed(batch)
        loss = module.objective(module.inject(there, FROZEN_EPOCH), there)[0]
        total, rows = total + float(loss) * len(batch["event_id"]), rows + len(batch["event_id"])
    return total / max(rows, 1)


@dataclass(frozen=True)
class Averaging:
    """What an average does to the loss on all apparatus.

    networks: the loss of each. average: that of their mean. shares, lines: along the line between two networks, by
    their places, the loss at each share of the way.
    """

    networks: list[float]
    average: float
    shares: list[float]
    lines: dict[tuple[int, int], list[float]]

    def barrier(self, pair: tuple[int, int]) -> float:
        """Return how far the loss rises on the line above the straight line between its ends; 0 where it does not."""
        losses, shares = np.array(self.lines[pair]), np.array(self.shares)
        return float(np.max(losses - ((1 - shares) * losses[0] + shares * losses[-1])).clip(min=0))

    @property
    def loses(self) -> bool:
        """Whether the average is worse than the median network: one that strayed far says nothing of the others."""
        return self.average > float(np.median(self.networks))

    @property
    def sentence(self) -> str:
        """What it comes to, in words."""
        middle = float(np.median(self.networks))
        barriers = ", ".join(f"{self.barrier(pair):.3g}" for pair in self.lines)
        verdict = "averaging loses" if self.loses else "averaging gains"
        alone = f"networks {min(self.networks):.4g} to {max(self.networks):.4g}, median {middle:.4g}"
        lines = f"; barriers on the lines between them {barriers}" if barriers else ""
        return f"loss on all apparatus: {alone}; their average {self.average:.4g}: {verdict}{lines}"

    @property
    def plain(self) -> dict[str, object]:
        """All of it in plain types."""
        lines = [
            {"from": one, "to": other, "losses": losses, "barrier": self.barrier((one, other))}
            for (one, other), losses in self.lines.items()
        ]
        return {
            "networks": self.networks,
            "average": self.average,
            "averaging_loses": self.loses,
            "shares": self.shares,
            "lines": lines,
            "in_words": self.sentence,
        }


def look_at(
    module: Learner, states: Sequence[State], mean: State, loader: ResumableLoader, lines: int, points: int
) -> Averaging:
    """Measure the loss of networks, of their mean, and along lines between some of them, evenly chosen."""
    learned = learned_names(module)
    alone = [loss_of(module, state, loader) for state in states]
    pairs = list(combinations(range(len(states)), 2))
    chosen = np.unique(np.linspace(0, len(pairs) - 1, min(lines, len(pairs))).astype(int)).tolist()
    shares = np.linspace(0, 1, max(points, 3)).tolist()
    along = {}
    for one, other in (pairs[place] for place in chosen):
        inner = [loss_of(module, between(states[one], states[other], share, learned), loader) for share in shares[1:-1]]
        along[one, other] = [alone[one], *inner, alone[other]]
    return Averaging(alone, loss_of(module, mean, loader), shares, along)
