"""LSTM encoder: the classic recurrent baseline."""

from __future__ import annotations

from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence

from reconstruction.models.conditioning.context import ContextVector
from reconstruction.models.encoders.base import Encoder, Sequence
from reconstruction.models.encoders.pooling import EndsPooling, PoolingName, make_pooling
from reconstruction.models.encoders.positions import patches, strided_lengths, valid_positions
from reconstruction.shapes import Lengths, Series

Positions = TypeVar("Positions", Tensor, PackedSequence)


class LSTMEncoder(Encoder):
    """Stacked (bidirectional) LSTM over patches of the series.

    Args:
        in_channels: channels of the series.
        width: features of each position; both directions together.
        depth: number of layers.
        bidirectional: read the record both ways (width must then be even).
        dropout: dropout between layers.
        stride: samples merged into one position; recurrences are slow, so more than one by default.
        pooling: "mean", "attention" or "last" (the final state of each direction).

    """

    def __init__(
        self,
        in_channels: int,
        width: int = 128,
        depth: int = 2,
        *,
        bidirectional: bool = True,
        dropout: float = 0.0,
        stride: int = 16,
        pooling: PoolingName = "mean",
    ) -> None:
        directions = 2 if bidirectional else 1
        hidden = width // directions
        both_ends = bidirectional and pooling == "last"
        pool = EndsPooling(2 * hidden) if both_ends else make_pooling(pooling, hidden * directions)
        super().__init__(in_channels, hidden * directions, stride, pool)
        self.lstm = nn.LSTM(
            in_channels * stride,
            hidden,
            depth,
            batch_first=True,
            bidirectional=bidirectional,
            dropout=dropout if depth > 1 else 0.0,
        )

    @property
    def layers(self) -> tuple[nn.Module, ...]:
        """One: the stack of an LSTM is one module."""
        return (self.lstm,)

    def sequence(
        self, series: Series, lengths: Lengths | None = None, context: ContextVector | None = None
    ) -> Sequence:
        """Return (batch, position, width) features, zero beyond each record."""
        positions = patches(series, self.stride, lengths).transpose(1, 2)
        lengths = strided_lengths(lengths, self.stride)
        if lengths is None:
            return Sequence(self.modulated(self._read(positions), 0, context), None)
        packed = pack_padded_sequence(positions, lengths.clamp(min=1).cpu(), batch_first=True, enforce_sorted=False)
        values, _ = pad_packed_sequence(self._read(packed), batch_first=True, total_length=positions.shape[1])
        values = self.modulated(values, 0, context, lengths)
        return Sequence(values * valid_positions(lengths, values.shape[1]).unsqueeze(-1).to(values.dtype), lengths)

    def _read(self, positions: Positions) -> Positions:
        """Return the states of the last layer; under a processor's autocast as exact as the weights.

        oneDNN has an LSTM of bfloat16 for processors with AVX-512 alone, and raises on others.
        """
        weight = self.lstm.weight_ih_l0
        assert isinstance(weight, Tensor)
        if weight.is_cpu and torch.is_autocast_enabled("cpu"):
            with torch.autocast("cpu", enabled=False):
                exact: Positions = self.lstm(positions.to(weight.dtype))[0]
                return exact
        states: Positions = self.lstm(positions)[0]
        return states
