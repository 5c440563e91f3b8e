"""A jet as a set of tracks and clusters: a perceptron of each object, and sums over all of them."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from collider.detectors.jet_energies.columns import OVER_JET_PT
from reconstruction.models.conditioning.context import ContextVector
from reconstruction.models.encoders.base import Encoder, Sequence
from reconstruction.models.encoders.pooling import Pooled, Pooling
from reconstruction.models.encoders.positions import valid_positions
from reconstruction.models.scaling import Standardise
from reconstruction.shapes import Float, Lengths, Series

FITTED_ROWS = 1 << 18
"""So many objects tell the scales of their numbers."""
USUAL = 8.0
"""About how many objects a jet has."""


class SumPooling(Pooling):
    """Sum over the positions of the record; positions beyond it must hold zeros."""

    def forward(self, values: Float[Tensor, "batch position width"], lengths: Lengths | None) -> Pooled:
        """Pool by the sum."""
        return Pooled(values.sum(dim=1), None)


class ObjectSetEncoder(Encoder):
    """A perceptron of each object, summed twice: as it is, and weighted by its share of the jet's pT.

    A Deep Set (Zaheer et al. 2017, arXiv:1703.06114): the energy of a jet is a sum over what is in it, so sums, no
    means. Neither the order of objects nor objects of zeros behind them matter. `scales` standardise the numbers.

    Args:
        in_channels: numbers of an object, as JetObjectsView gives them.
        width: features of each object.
        depth: hidden layers of the perceptron.
        dropout: of the features of each object.

    """

    of_tokens = True

    def __init__(self, in_channels: int, width: int = 64, *, depth: int = 2, dropout: float = 0.1) -> None:
        super().__init__(in_channels, 2 * width, 1, SumPooling(2 * width))
        self.scales = Standardise(in_channels)
        self.embed = nn.Linear(in_channels, width)
        self.hidden_layers = nn.ModuleList(nn.Sequential(nn.GELU(), nn.Linear(width, width)) for _ in range(depth))
        self.drop = nn.Dropout(dropout)

    @property
    def layers(self) -> tuple[nn.Module, ...]:
        """The layers of the perceptron."""
        return (self.embed, *self.hidden_layers)

    @property
    def modulated_widths(self) -> tuple[int, ...]:
        """Width behind each layer."""
        return (self.embed.out_features,) * len(self.layers)

    @property
    def fitted(self) -> bool:
        """Whether the scales are known."""
        return self.scales.fitted

    def fit(self, batches: Iterable[tuple[Series, Lengths | None]]) -> None:
        """Fit the scales on objects of the training split."""
        real: list[Tensor] = []
        for series, lengths in batches:
            real.append(series.flatten(0, 1) if lengths is None else series[valid_positions(lengths, series.shape[1])])
            if sum(map(len, real)) >= FITTED_ROWS:
                break
        self.scales.fit(torch.cat(real))

    def sequence(
        self, series: Series, lengths: Lengths | None = None, context: ContextVector | None = None
    ) -> Sequence:
        """Return (batch, object, 2 · width) features, zero beyond each jet's objects."""
        share = series[..., OVER_JET_PT : OVER_JET_PT + 1]
        scaled = self.scales(series.flatten(0, 1)).view_as(series)
        values = self.modulated(self.embed(scaled), 0, context, lengths)
        for layer, block in enumerate(self.hidden_layers, 1):
            values = self.modulated(block(values), layer, context, lengths)
        values = self.drop(values)
        both = torch.cat([values / USUAL, values * share], dim=-1)
        if lengths is not None:
            both = both * valid_positions(lengths, series.shape[1]).unsqueeze(-1).to(both.dtype)
        return Sequence(both, lengths)
