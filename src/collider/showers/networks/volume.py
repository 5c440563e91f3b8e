"""A residual convolutional network in three dimensions: depth, angle and radius, or depth, x and y."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from reconstruction.errors import UserError
from reconstruction.models.conditioning.context import ContextVector
from reconstruction.models.encoders.base import Encoder, Sequence
from reconstruction.models.encoders.channel_norm import ChannelNorm
from reconstruction.models.encoders.pooling import PoolingName, make_pooling
from reconstruction.models.encoders.positions import masked, valid_positions
from reconstruction.shapes import Float, Lengths, Series

Volume = Float[Tensor, "batch width layer sector ring"]
Mask = Float[Tensor, "batch 1 layer 1 1"]


class VolumeBlock(nn.Module):
    """Two convolutions around a residual path, each after norm and activation; padding is zeroed before each."""

    def __init__(self, width: int, kernel_size: int, around: bool) -> None:
        super().__init__()
        self.around, self.reach = around, kernel_size // 2
        self.norms = nn.ModuleList(ChannelNorm(width) for _ in range(2))
        self.convolutions = nn.ModuleList(nn.Conv3d(width, width, kernel_size) for _ in range(2))

    def forward(self, values: Volume, mask: Mask | None) -> Volume:
        """Return values plus their convolved change."""
        change = values
        for norm, convolution in zip(self.norms, self.convolutions, strict=True):
            even = norm(change.flatten(2)).unflatten(2, change.shape[2:])
            change = convolution(self._wider(masked(nn.functional.gelu(even), mask)))
        return values + change

    def _wider(self, values: Volume) -> Volume:
        """Return the volume with what convolutions read beside it: nothing, or the sectors of the other side."""
        reach = self.reach
        if self.around:
            sectors = values.shape[3]
            places = torch.arange(-reach, sectors + reach, device=values.device) % sectors
            return nn.functional.pad(values.index_select(3, places), (reach, reach, 0, 0, reach, reach))
        return nn.functional.pad(values, (reach,) * 6)


class VolumeEncoder(Encoder):
    """Residual blocks of convolutions over the volume; each layer is then one position.

    Args:
        in_channels: cells of a layer: sectors times rings, the ring running first.
        width: features of each cell.
        depth: number of blocks.
        sectors: sectors of a layer (columns, of squares).
        kernel_size: cells that one convolution sees in each direction (odd).
        around: whether the last sector is a neighbour of the first.
        pooling: "mean", "attention" or "last".

    """

    takes_channels = False

    def __init__(
        self,
        in_channels: int,
        width: int = 16,
        depth: int = 2,
        *,
        sectors: int = 8,
        kernel_size: int = 3,
        around: bool = True,
        pooling: PoolingName = "mean",
    ) -> None:
        if kernel_size % 2 == 0 or sectors < 1 or in_channels % sectors:
            raise UserError(
                "a network over the volume needs an odd kernel size and sectors that divide the cells of a layer "
                f"({in_channels}), not kernel size {kernel_size}, sectors {sectors}"
            )
        super().__init__(in_channels, 2 * width, 1, make_pooling(pooling, 2 * width))
        self.sectors, self.rings = sectors, in_channels // sectors
        self.project = nn.Conv3d(4, width, 1)
        self.blocks = nn.ModuleList(VolumeBlock(width, kernel_size, around) for _ in range(depth))
        self.norm = ChannelNorm(width)
        self.join = nn.Linear(width * self.rings, 2 * width)

    @property
    def layers(self) -> tuple[nn.Module, ...]:
        """Input projection, blocks, and what joins the rings."""
        return (self.project, *self.blocks, self.join)

    @property
    def modulated_widths(self) -> tuple[int, ...]:
        """That of what is joined: the cells before are no positions."""
        return (self.sequence_width,)

    def sequence(
        self, series: Series, lengths: Lengths | None = None, context: ContextVector | None = None
    ) -> Sequence:
        """Return (batch, layer, width) features, zero beyond each shower's layers."""
        valid = None if lengths is None else valid_positions(lengths, series.shape[1]).to(series.dtype)
        mask = None if valid is None else valid.reshape(series.shape[0], 1, -1, 1, 1)
        volume = series.unflatten(2, (self.sectors, self.rings)).unsqueeze(1)
        values = self.project(_with_places(volume if mask is None else volume * mask))
        for block in self.blocks:
            values = block(values, mask)
        values = self.norm(values.flatten(2)).unflatten(2, values.shape[2:])
        # all sectors are alike, rings and layers are not
        joined = self.join(nn.functional.gelu(values).mean(3).permute(0, 2, 3, 1).flatten(2))
        joined = self.modulated(joined, 0, context, lengths)
        return Sequence(joined if valid is None else joined * valid.unsqueeze(-1), lengths)


def _with_places(volume: Volume) -> Volume:
    """Return roots, energies (which add up), and the place in depth and radius, as four features."""
    layers, rings = volume.shape[2], volume.shape[4]
    depth = torch.arange(layers, device=volume.device, dtype=volume.dtype).reshape(1, 1, -1, 1, 1) / 10
    ring = torch.arange(rings, device=volume.device, dtype=volume.dtype).reshape(1, 1, 1, 1, -1) / 5
    return torch.cat([volume, volume * volume.abs(), depth.expand_as(volume), ring.expand_as(volume)], dim=1)
