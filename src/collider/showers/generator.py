"""A network that draws showers: cells given energy, particle and the thickness of the layers, by flow matching.

What flows are signed roots of the cells' shares of E, standardised, and the sum of all cells over E as a coordinate of
its own, to which the cells are scaled in the end: its width is a few per cent, and would drown in the errors of cells.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor, nn

from collider.showers.config import ShowerConfig
from collider.showers.events import simulate_events
from collider.showers.parameters import checked_energies
from collider.showers.particles import HADRONS, NAMES, PDG_CODES, PHOTON, pdg_codes
from reconstruction.errors import UserError
from reconstruction.models.flow_matching import FLOW_STEPS, FlowMatching

Values = NDArray[np.float64]

WIDTH, DEPTH = 256, 4
BATCH, LEARNING_RATE, AVERAGE = 256, 2e-3, 0.998
MARGIN: Final = 0.02
"""So far beyond the range of the training may be drawn: what is drawn from a range never reaches its ends."""
_AT_ONCE: Final = 4096
_LEAST_SPREAD: Final = 1e-3


@dataclass(frozen=True)
class Conditioned:
    """Showers with what they were made from: cells_gev (event, cell), energy_gev, particle (PDG code), layer_x0."""

    cells_gev: Values
    energy_gev: Values
    particle: NDArray[np.int64]
    layer_x0: Values

    def __len__(self) -> int:
        return len(self.energy_gev)

    def select(self, rows: NDArray[Any]) -> Conditioned:
        """Return some of them."""
        return Conditioned(*(getattr(self, field.name)[rows] for field in dataclasses.fields(self)))


def simulated(config: ShowerConfig, thicknesses: Sequence[float], events: int, split: str, seed: int) -> Conditioned:
    """Simulate showers of a configuration with layers that are so many times as thick, `events` of each thickness."""
    parts = []
    for place, thickness in enumerate(thicknesses):
        grid = dataclasses.replace(config.grid, thickness=thickness)
        own = dataclasses.replace(config, grid=grid, seed=seed + place)
        found = simulate_events(own, np.arange(events), split)
        cells = found.cells_gev.reshape(events, -1).astype(np.float64)
        parts.append((cells, found.energy_gev, found.particle, np.full(events, config.grid.layer_x0 * thickness)))
    return Conditioned(*(np.concatenate(columns) for columns in zip(*parts, strict=True)))


class ShowerGenerator(nn.Module):
    """Draws the cells of showers. `fit` trains it, `generate` draws; the state holds all that was fitted.

    Both work where the module lies (`.to("cuda")`); random numbers come from the host, the same for every device.
    """

    shift: Tensor
    scale: Tensor
    ranges: Tensor
    kinds: Tensor

    def __init__(self, cells: int, width: int = WIDTH, depth: int = DEPTH) -> None:
        super().__init__()
        self.cells = cells
        self.flow = FlowMatching(cells + 1, 3, width, depth)
        self.register_buffer("shift", torch.zeros(cells + 1))
        self.register_buffer("scale", torch.ones(cells + 1))
        self.register_buffer("ranges", torch.zeros(2, 2, dtype=torch.float64))
        self.register_buffer("kinds", torch.zeros(len(PDG_CODES), dtype=torch.bool))

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *more: Any) -> None:
        """Take states of before the flow was a module of its own, too; they do not say of which particles they are."""
        names = [key.removeprefix(prefix) for key in state_dict if key.startswith(prefix)]
        before = [name for name in names if name.partition(".")[0] in ("start", "blocks", "end")]
        for name in before:
            state_dict[f"{prefix}flow.{name}"] = state_dict.pop(f"{prefix}{name}")
        if before:
            known = torch.tensor([code not in HADRONS for code in PDG_CODES.values()])
            state_dict.setdefault(f"{prefix}kinds", known)
        super()._load_from_state_dict(state_dict, prefix, *more)

    def fit(self, showers: Conditioned, steps: int = 5000, seed: int = 0) -> list[float]:
        """Train on showers; returns the loss of each step. The weights are those of an average over the last ones.

        Raises UserError where there are no showers, or of other cells, or of hadrons.
        """
        if not len(showers) or showers.cells_gev.shape[1] != self.cells:
            raise UserError(f"the generator draws {self.cells} cells, and was given {showers.cells_gev.shape} to learn")
        if np.isin(showers.particle, HADRONS).any():
            raise UserError("the generator draws showers of electrons, positrons and photons: leave pions out")
        flat = torch.from_numpy(encoded(showers)).float().to(self.shift.device)
        self.shift.copy_(flat.mean(0))
        self.scale.copy_(flat.std(0).clamp(min=_LEAST_SPREAD))
        self.ranges.copy_(
            torch.tensor([[column.min(), column.max()] for column in (showers.energy_gev, showers.layer_x0)])
        )
        self.kinds.copy_(torch.tensor([code in showers.particle for code in PDG_CODES.values()]))
        wanted, given = (flat - self.shift) / self.scale, self._conditions(showers)
        random = torch.Generator().manual_seed(seed)
        averaged = torch.optim.swa_utils.AveragedModel(
            self, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(AVERAGE)
        )
        optimiser = torch.optim.AdamW(self.parameters(), lr=LEARNING_RATE, weight_decay=0.0)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, LEARNING_RATE, total_steps=steps, pct_start=0.1)
        losses = []
        for _ in range(steps):
            rows = torch.randint(len(wanted), (BATCH,), generator=random).to(wanted.device)
            loss = self._loss(wanted[rows], given[rows], random)
            optimiser.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(self.parameters(), 1.0)
            optimiser.step()
            schedule.step()
            averaged.update_parameters(self)
            losses.append(loss.detach())
        self.load_state_dict(averaged.module.state_dict())
        said: list[float] = torch.stack(losses).tolist()  # at the end: a device would be waited for at every step
        return said

    def _loss(self, wanted: Tensor, given: Tensor, random: torch.Generator) -> Tensor:
        noise = torch.randn(wanted.shape, generator=random).to(wanted.device)
        time = torch.rand(len(wanted), 1, generator=random).to(wanted.device)
        return self.flow.loss(wanted, given, noise, time)

    @torch.no_grad()
    def generate(
        self,
        energy_gev: ArrayLike,
        particle: str | int | Sequence[Any] | NDArray[Any] = "electron",
        layer_x0: float | ArrayLike = 1.0,
        seed: int = 0,
        flow_steps: int = FLOW_STEPS,
    ) -> Conditioned:
        """Draw a shower for each energy (event,), of one particle or of one each, in layers of this thickness.

        Raises UserError for what it was not trained on: the network would draw something all the same.
        """
        energies = np.atleast_1d(checked_energies(energy_gev))
        codes = pdg_codes(particle, len(energies))
        thickness = np.broadcast_to(np.asarray(layer_x0, np.float64), energies.shape).copy()
        self._require_trained(energies, codes, thickness)
        wanted = Conditioned(np.zeros((len(energies), self.cells)), energies, codes, thickness)
        given, random = self._conditions(wanted), torch.Generator().manual_seed(seed)
        noise = torch.randn(len(energies), self.cells + 1, generator=random).to(given.device)
        parts = [
            self.flow.flown(*pair, flow_steps) * self.scale + self.shift
            for pair in zip(noise.split(_AT_ONCE), given.split(_AT_ONCE), strict=True)
        ]
        drawn = torch.cat(parts).cpu().double().numpy() if parts else np.zeros((0, self.cells + 1))
        return dataclasses.replace(wanted, cells_gev=decoded(drawn, energies))

    def _conditions(self, showers: Conditioned) -> Tensor:
        """Return ln E and the thickness, both from −1 to 1 over the training, and ±1 for photons or not."""
        low, high = self.ranges.cpu().numpy().T
        energy = _over_range(np.log(showers.energy_gev), np.log(low[0]), np.log(high[0]))
        thickness = _over_range(showers.layer_x0, low[1], high[1])
        photon = np.where(showers.particle == PHOTON, 1.0, -1.0)
        return torch.from_numpy(np.column_stack([energy, thickness, photon])).float().to(self.shift.device)

    def _require_trained(self, energies: Values, codes: NDArray[np.int64], thickness: Values) -> None:
        if not bool(self.ranges.any()):
            raise UserError("this generator was not trained: call fit(showers), or load its state")
        met = [code for code, seen in zip(PDG_CODES.values(), self.kinds.tolist(), strict=True) if seen]
        for code in codes[~np.isin(codes, met)][:1]:
            raise UserError(f"the generator was trained on no showers of {NAMES[int(code)]}")
        for what, values, (low, high) in (
            ("GeV", energies, self.ranges[0].tolist()),
            ("X0 a layer", thickness, self.ranges[1].tolist()),
        ):
            beyond = values[~((values >= low * (1 - MARGIN)) & (values <= high * (1 + MARGIN)))]  # NaN, too
            if len(beyond):
                raise UserError(
                    f"{beyond[0]:g} {what} is beyond what the generator was trained on, {low:g} to {high:g}"
                )


def encoded(showers: Conditioned) -> Values:
    """Return what flows, (event, cell + 1): ±√|share of E| of each cell, and the sum of all over E."""
    shares = showers.cells_gev / showers.energy_gev[:, None]
    return np.column_stack([np.sign(shares) * np.sqrt(np.abs(shares)), shares.sum(1)])


def decoded(flat: Values, energy_gev: Values) -> Values:
    """Return the cells of what flowed, in GeV (event, cell): their sum is that of the last coordinate."""
    shares = np.sign(flat[:, :-1]) * flat[:, :-1] ** 2
    total = shares.sum(1, keepdims=True)
    return np.asarray(shares * (flat[:, -1:] / np.where(total > 0, total, 1.0)) * energy_gev[:, None])


def _over_range(values: Values, low: float, high: float) -> Values:
    return 2 * (values - low) / (high - low) - 1 if high > low else np.zeros_like(values)
