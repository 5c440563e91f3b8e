"""Settings of an apparatus → a standardised context vector, with learned defaults for what is not known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn

from reconstruction.errors import UserError, nearest
from reconstruction.exact_buffers import ExactBuffers
from reconstruction.shapes import Float

By = Literal["film", "attention", "concatenation"]

Settings = Float[Tensor, "batch setting"]
ContextVector = Float[Tensor, "batch context"]


@dataclass(frozen=True)
class ConditionOptions:
    """Which settings of the apparatus a model is told, and how.

    Args:
        settings: Columns of the data: one number a row, NaN where it is not known.
        by: How they modulate encoders and head: film (features scaled and shifted), attention (whose queries, keys and
            values they scale), or concatenation (further channels, further features).
        log: Those of the settings whose logarithm counts: scales such as temperatures or quality factors.
        width: Width of the context vector.
        drop: Share of the rows of a training step in which each setting is hidden, so that the model learns to do
            without; 0 for a model that is always told.
        degrees: Highest orders in the settings of a landmark's map, one for each; empty for 2 each.
        widen: Outside the trained range, how much of the change that the same distance makes inside of it is added to
            the error bars; 0 for none.

    """

    settings: tuple[str, ...]
    by: By = "film"
    log: tuple[str, ...] = ()
    width: int = 16
    drop: float = 0.1
    degrees: tuple[int, ...] = ()
    widen: float = 1.5

    def __post_init__(self) -> None:
        if not self.settings or len(set(self.settings)) != len(self.settings):
            raise UserError("model.condition.settings names columns of the data, at least one and each once")
        for name in self.log:
            if name not in self.settings:
                raise UserError(
                    f"model.condition.log names {name!r}, which is none of the settings{nearest(name, self.settings)}"
                )
        if self.degrees and len(self.degrees) != len(self.settings):
            raise UserError(
                f"model.condition.degrees has {len(self.degrees)} entries for {len(self.settings)} settings: give one "
                "for each, or none"
            )
        if not 0 <= self.drop < 1 or self.widen < 0:
            raise UserError("model.condition.drop must lie in 0 to below 1, and widen be 0 or more")

    @property
    def map_degrees(self) -> tuple[int, ...]:
        """Orders of the settings in a landmark's map."""
        return self.degrees or (2,) * len(self.settings)


class ToldContext(NamedTuple):
    """What a model is told of the apparatus of each row."""

    vector: Tensor
    """(batch, width) context."""
    coordinates: Tensor
    """(batch, setting) standardised settings, 0 where they are not known; float64."""


class Context(ExactBuffers):
    """Standardise settings, or their logarithms, and turn them into a context vector.

    Buffers in float64: `shift` and `scale` of the settings of the training rows (of their logarithms where asked for),
    and their range, `low` to `high`, standardised. A setting that is not known (NaN) counts as a learned value, and the
    vector is told that it is not known. Beyond the range a setting counts as at its edge.
    """

    shift: Tensor
    scale: Tensor
    low: Tensor
    high: Tensor
    logarithmic: Tensor

    def __init__(self, options: ConditionOptions) -> None:
        super().__init__()
        self.options = options
        count = len(options.settings)
        for name, value in (("shift", 0.0), ("scale", 1.0), ("low", -torch.inf), ("high", torch.inf)):
            self.register_buffer(name, torch.full((count,), value, dtype=torch.float64))
        taken = [name in options.log for name in options.settings]
        self.register_buffer("logarithmic", torch.tensor(taken), persistent=False)
        self.unknown = nn.Parameter(torch.zeros(count))
        self.perceptron = nn.Sequential(
            nn.Linear(2 * count, options.width), nn.GELU(), nn.Linear(options.width, options.width)
        )
        self.fitted = False

    @torch.no_grad()
    def fit(self, values: Settings, names: Sequence[str] | None = None) -> None:
        """Fit on the settings of training rows, in their own units; NaN is left out.

        Raises UserError for a setting that is unknown throughout, does not vary, is infinite, or has no logarithm.
        """
        exact = values.to(self.shift)  # from the host, where the data are
        for place, name in enumerate(names or self.options.settings):
            _require_usable(exact[:, place], name, bool(self.logarithmic[place]))
        scaled = self._scaled(exact)
        for place, column in enumerate(scaled.unbind(dim=1)):
            known = column[~column.isnan()]
            self.shift[place], self.scale[place] = known.mean(), known.std(correction=0)
        placed = (scaled - self.shift) / self.scale
        self.low.copy_(_ends(placed, -1))
        self.high.copy_(_ends(placed, 1))
        self.fitted = True

    @torch.no_grad()
    def widen_range(self, values: Settings) -> None:
        """Take further training rows into the range; what is standardised stays as it is."""
        placed = self.placed(values)
        self.low.copy_(torch.minimum(self.low, _ends(placed, -1)))
        self.high.copy_(torch.maximum(self.high, _ends(placed, 1)))

    def _scaled(self, values: Settings) -> Settings:
        return torch.where(self.logarithmic, values.log(), values)

    def placed(self, values: Settings) -> Settings:
        """Return settings in their own units standardised, float64; NaN where they are not known."""
        if not self.fitted:
            raise UserError("these settings were not standardised yet: call fit(values) on the training rows")
        return (self._scaled(values.to(self.shift)) - self.shift) / self.scale

    def forward(self, placed: Settings) -> ToldContext:
        """Return the context of standardised settings, (batch, setting), NaN where they are not known.

        In training each is hidden in a share of the rows.
        """
        if self.training and self.options.drop:
            placed = placed.masked_fill(torch.rand(placed.shape, device=placed.device) < self.options.drop, torch.nan)
        known = ~placed.isnan()
        held = torch.where(known, placed, 0.0).clamp(self.low, self.high)
        filled = torch.where(known, held.to(self.unknown.dtype), self.unknown)
        vector: Tensor = self.perceptron(torch.cat((filled, known.to(filled.dtype)), dim=1))
        return ToldContext(vector, torch.where(known, held, 0.0))

    def outside(self, placed: Settings) -> Tensor:
        """Return how far standardised settings lie outside of the trained range, signed; 0 inside and unknown."""
        held = torch.minimum(torch.maximum(placed, self.low), self.high)
        return torch.where(placed.isnan(), 0.0, placed - held)

    def mirrored(self, placed: Settings) -> Settings:
        """Return settings outside of the range as far inside of its edge, others as they are."""
        edge = torch.minimum(torch.maximum(placed, self.low), self.high)
        return edge - self.outside(placed)

    def get_extra_state(self) -> dict[str, bool]:
        """Return what a checkpoint holds beside the buffers."""
        return {"fitted": self.fitted}

    def set_extra_state(self, state: dict[str, bool]) -> None:
        """Take what a checkpoint holds beside the buffers."""
        self.fitted = state["fitted"]


def _ends(placed: Settings, side: int) -> Float[Tensor, "setting"]:
    """Return the smallest (-1) or largest (1) known value of each setting."""
    return side * torch.where(placed.isnan(), -torch.inf, side * placed).amax(dim=0)


def _require_usable(column: Tensor, name: str, logarithmic: bool) -> None:
    known = column[~column.isnan()]
    if not len(known):
        raise UserError(f"the setting {name} is known in none of the training rows: leave it out of model.condition")
    if not bool(known.isfinite().all()):
        raise UserError(f"the setting {name} is infinite in some training rows: it must be a number, or NaN (unknown)")
    if logarithmic and float(known.min()) <= 0:
        raise UserError(
            f"the setting {name} is {float(known.min()):g} in some training rows and has no logarithm: leave it out of "
            "model.condition.log"
        )
    spread = float(known.max() - known.min())
    if spread <= 1e-12 * float(known.abs().max()):
        raise UserError(
            f"the setting {name} is {float(known[0]):g} in all training rows, so that nothing can be learned from it: "
            "leave it out of model.condition.settings, or add data of another apparatus"
        )
