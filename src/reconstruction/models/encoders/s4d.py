"""S4D encoder: residual blocks of long convolutions and channel mixing, channel-first inside."""

from __future__ import annotations

from collections.abc import Iterable
from collections.abc import Sequence as Many
from typing import Literal

import torch
from torch import Tensor, nn

from reconstruction.errors import UserError
from reconstruction.models.conditioning.context import ContextVector
from reconstruction.models.encoders.base import Encoder, Sequence
from reconstruction.models.encoders.channel_norm import ChannelNorm
from reconstruction.models.encoders.pooling import Pooled, PoolingName, make_pooling, merge
from reconstruction.models.encoders.positions import average_neighbours, masked, patches, position_mask, strided_lengths
from reconstruction.models.encoders.s4d_layer import Initialisation, StateSpace, spectra_of
from reconstruction.models.encoders.s4d_spectra import KeptSpectra
from reconstruction.models.fused.gate import add_gated
from reconstruction.models.fused.tensors import fusible
from reconstruction.shapes import Complex, Features, Float, Lengths, Series

Mixing = Literal["glu", "linear"]


class S4DBlock(nn.Module):
    """Norm, state space, activation, channel mixing, dropout, residual (pre-norm, or post-norm after the sum)."""

    def __init__(self, state_space: nn.Module, width: int, *, prenorm: bool, mixing: Mixing, dropout: float) -> None:
        super().__init__()
        self.norm = ChannelNorm(width)
        self.state_space = state_space
        self.prenorm = prenorm
        self.gated = mixing == "glu"
        self.mix = nn.Conv1d(width, 2 * width if self.gated else width, 1)
        self.dropout = nn.Dropout1d(dropout) if dropout else nn.Identity()

    def forward(
        self,
        values: Float[Tensor, "batch width position"],
        mask: Float[Tensor, "batch 1 position"] | None,
        spectrum: Complex[Tensor, "width bin"] | None = None,
    ) -> Float[Tensor, "batch width position"]:
        """Values beyond the record are zeroed before the convolution, so that padding cannot reach the record.

        `spectrum` is that of the state space, where it has been made already.
        """
        read = masked(self._before(values), mask)
        convolved = self.state_space(read) if spectrum is None else self.state_space(read, spectrum)
        return self._after(values, convolved)

    def chunk(
        self, values: Float[Tensor, "batch width position"], state: Complex[Tensor, "batch width state"]
    ) -> tuple[Float[Tensor, "batch width position"], Complex[Tensor, "batch width state"]]:
        """The same for one piece of a longer series; returns the state to be handed to the next piece."""
        assert isinstance(self.state_space, StateSpace)
        convolved, state = self.state_space.chunk(self._before(values), state)
        return self._after(values, convolved), state

    def _before(self, values: Tensor) -> Tensor:
        return self.norm(values) if self.prenorm else values

    def _after(self, values: Tensor, convolved: Tensor) -> Tensor:
        values = self._sum(values, self.mix(self.dropout(nn.functional.gelu(convolved))))
        return values if self.prenorm else self.norm(values)

    def _sum(self, values: Tensor, mixed: Tensor) -> Tensor:
        drops = self.training and not isinstance(self.dropout, nn.Identity)
        if self.gated and not drops and fusible(values, mixed):
            return add_gated(values, mixed)
        return values + self.dropout(nn.functional.glu(mixed, dim=1) if self.gated else mixed)


class S4DEncoder(Encoder):
    """Diagonal state-space encoder (Gu et al. 2022, arXiv:2206.11893).

    Args:
        in_channels: channels of the series.
        width: features of each position.
        state: state size N of each channel (N/2 conjugate pairs).
        depth: number of blocks.
        bidirectional: convolve over past and future; false for a causal model, which can also stream.
        prenorm: normalise before each block's convolution, not after the residual sum.
        mixing: "glu" (gated, twice the products) or "linear" mixing of channels after the convolution.
        dropout: share of channels dropped in training, the same at all positions.
        initialisation: "lin", "inv" or "random" spectrum of A.
        dt_min: smallest initial time step, in positions⁻¹.
        dt_max: largest initial time step.
        stride: samples that the input projection merges into one position.
        downsample: for each block, the factor by which positions are averaged after it (empty: none).
        pooling: "mean", "attention" or "last".

    """

    def __init__(
        self,
        in_channels: int,
        width: int = 128,
        state: int = 64,
        depth: int = 6,
        *,
        bidirectional: bool = True,
        prenorm: bool = True,
        mixing: Mixing = "glu",
        dropout: float = 0.0,
        initialisation: Initialisation = "lin",
        dt_min: float = 1e-3,
        dt_max: float = 1e-1,
        stride: int = 1,
        downsample: Many[int] = (),
        pooling: PoolingName = "mean",
    ) -> None:
        factors = tuple(downsample) or (1,) * depth
        if len(factors) != depth or min(factors) < 1 or stride < 1:
            raise UserError(
                f"S4D needs stride ≥ 1 and one downsample factor ≥ 1 for each of its {depth} blocks, "
                f"not stride {stride} and downsample {list(downsample)}"
            )
        total_stride = stride
        for factor in factors:
            total_stride *= factor
        super().__init__(in_channels, width, total_stride, make_pooling(pooling, width))
        self.patch = stride
        self.factors = factors
        self.project = nn.Conv1d(in_channels * stride, width, 1)
        self.blocks = nn.ModuleList(
            S4DBlock(
                StateSpace(
                    width,
                    state,
                    bidirectional=bidirectional,
                    initialisation=initialisation,
                    dt_min=dt_min,
                    dt_max=dt_max,
                ),
                width,
                prenorm=prenorm,
                mixing=mixing,
                dropout=dropout,
            )
            for _ in range(depth)
        )
        self.norm = ChannelNorm(width) if prenorm else nn.Identity()
        self._kept = tuple(KeptSpectra() for _ in range(depth))
        """That of the first of the blocks that are made together is used; made here, as an export may add none."""

    @property
    def causal(self) -> bool:
        """Whether no position looks into its future, so that `stream` works."""
        return all(layer.directions == 1 for layer in self._state_spaces())

    @property
    def layers(self) -> tuple[nn.Module, ...]:
        """Input projection and blocks."""
        return (self.project, *self.blocks)

    def sequence(
        self, series: Series, lengths: Lengths | None = None, context: ContextVector | None = None
    ) -> Sequence:
        """Return (batch, position, width) features, zero beyond each record."""
        values = self.project(patches(series, self.patch, lengths))
        lengths = strided_lengths(lengths, self.patch)
        values = self.channels_modulated(values, 0, context, lengths)
        spectra = self._spectra(values.shape[-1])
        for place, (block, factor, spectrum) in enumerate(zip(self.blocks, self.factors, spectra, strict=True), 1):
            mask = position_mask(values, lengths)
            values = self.channels_modulated(block(values, mask, spectrum), place, context, lengths)
            if factor > 1:
                values = average_neighbours(masked(values, mask), factor)
                lengths = strided_lengths(lengths, factor)
        mask = position_mask(values, lengths)
        if isinstance(self.norm, ChannelNorm) and mask is None:
            return Sequence(self.norm.positions_first(values), lengths)
        return Sequence(masked(self.norm(values), mask).transpose(1, 2), lengths)

    def _spectra(self, positions: int) -> list[Tensor | None]:
        """Spectra of the blocks' kernels, those of equal lengths made together; None where no state space is."""
        by_length: dict[int, list[int]] = {}
        for place, factor in enumerate(self.factors):
            by_length.setdefault(positions, []).append(place)
            positions = -(-positions // factor)
        spectra: list[Tensor | None] = [None] * len(self.factors)
        spaces = self._state_spaces()
        for length, places in by_length.items() if len(spaces) == len(self.factors) else ():
            made = spectra_of([spaces[one] for one in places], length, self._kept[places[0]])
            for place, spectrum in zip(places, made, strict=True):
                spectra[place] = spectrum
        return spectra

    @torch.no_grad()
    def stream(self, pieces: Iterable[Tensor]) -> Features:
        """Features of a record that arrives in pieces (batch, time, channel); memory does not grow with the record.

        Equal to `forward` of the whole record, for causal models. The length of every piece but the last is a multiple
        of `stride`. Raises UserError when the model looks into the future or a piece has another length.
        """
        states: list[Tensor] = []
        pooled: Pooled | None = None
        aligned = True
        for piece in pieces:
            if not aligned:
                raise UserError(f"pieces of a record must be multiples of {self.stride} samples, but for the last one")
            aligned = piece.shape[1] % self.stride == 0
            states = states or [layer.initial_state(piece.shape[0]) for layer in self._state_spaces()]
            newest = self.pooling(self._advance(piece, states).transpose(1, 2), None)
            pooled = newest if pooled is None else merge(pooled, newest)
        if pooled is None:
            raise UserError("a record needs at least one piece")
        return pooled.features

    def _advance(self, piece: Series, states: list[Tensor]) -> Tensor:
        """Features of the positions of one piece; `states` move on in place."""
        values = self.project(patches(piece, self.patch))
        for i, (block, factor) in enumerate(zip(self._typed_blocks(), self.factors, strict=True)):
            values, states[i] = block.chunk(values, states[i])
            values = average_neighbours(values, factor) if factor > 1 else values
        return self.norm(values)

    def _state_spaces(self) -> list[StateSpace]:
        """Return those of all blocks; fewer where another layer has been put in the place of one."""
        spaces = (block.state_space for block in self._typed_blocks())
        return [space for space in spaces if isinstance(space, StateSpace)]

    def _typed_blocks(self) -> list[S4DBlock]:
        return [block for block in self.blocks if isinstance(block, S4DBlock)]
