"""Attention between particles, and of a class token to them."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from reconstruction.models.encoders.pooling import Pooled, Pooling
from reconstruction.models.encoders.positions import valid_positions
from reconstruction.shapes import Bool, Float, Lengths

Values = Float[Tensor, "batch particle width"]


class BiasedAttention(nn.Module):
    """Attention of queries to values, with a bias for each head, blind to what is not real."""

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads, self.dropout = heads, dropout
        self.query = nn.Linear(width, width)
        self.key_value = nn.Linear(width, 2 * width)
        self.output = nn.Linear(width, width)

    def forward(
        self,
        asking: Values,
        values: Values,
        bias: Float[Tensor, "batch head asking particle"] | None,
        real: Bool[Tensor, "batch particle"] | None,
    ) -> Values:
        """Return what is heard, (batch, asking, width)."""
        query = self._by_head(self.query(asking))
        key, value = map(self._by_head, self.key_value(values).chunk(2, dim=-1))
        mask = None if bias is None else bias.to(query.dtype)
        if real is not None:
            barred = torch.zeros_like(real, dtype=query.dtype).masked_fill(~real, -torch.inf)[:, None, None, :]
            mask = barred if mask is None else mask + barred
        heard = nn.functional.scaled_dot_product_attention(
            query, key, value, attn_mask=mask, dropout_p=self.dropout if self.training else 0.0
        )
        return self.output(heard.transpose(1, 2).flatten(2))

    def _by_head(self, values: Tensor) -> Tensor:
        return values.unflatten(-1, (self.heads, -1)).transpose(1, 2)


class ParticleBlock(nn.Module):
    """Attention with pair bias and a feed-forward part, each between two norms and around a residual path.

    Qu, Li, Qian 2022, arXiv:2202.03772, fig. 3 b, after NormFormer (Shleifer et al. 2021, arXiv:2110.09456)
    """

    def __init__(self, width: int, heads: int, expansion: int, dropout: float) -> None:
        super().__init__()
        self.before, self.after = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attention = BiasedAttention(width, heads, dropout)
        self.change = nn.Sequential(
            nn.LayerNorm(width),
            nn.Linear(width, expansion * width),
            nn.GELU(),
            nn.LayerNorm(expansion * width),
            nn.Dropout(dropout),
            nn.Linear(expansion * width, width),
            nn.Dropout(dropout),
        )

    def forward(
        self,
        values: Values,
        bias: Float[Tensor, "batch head particle particle"] | None,
        real: Bool[Tensor, "batch particle"] | None,
    ) -> Values:
        """Return the features of the next block."""
        even = self.before(values)
        values = values + self.after(self.attention(even, even, bias, real))
        return values + self.change(values)


class ClassAttention(Pooling):
    """Blocks in which a learned token asks the particles: its last state is the jet.

    Touvron et al. 2021, arXiv:2103.17239, sec. 3; the token attends to itself and to all particles, these to nothing
    """

    def __init__(self, width: int, heads: int, depth: int, expansion: int) -> None:
        super().__init__(width)
        self.token = nn.Parameter(0.02 * torch.randn(width))
        self.blocks = nn.ModuleList(ParticleBlock(width, heads, expansion, 0.0) for _ in range(depth))
        self.norm = nn.LayerNorm(width)

    def forward(self, values: Values, lengths: Lengths | None) -> Pooled:
        """Pool by what the token has heard."""
        token = self.token.to(values.dtype).expand(len(values), 1, -1)
        real = None
        if lengths is not None:
            real = nn.functional.pad(valid_positions(lengths, values.shape[1]), (1, 0), value=True)
        for block in self.blocks:
            assert isinstance(block, ParticleBlock)
            everything = torch.cat([token, values], dim=1)
            heard = block.attention(block.before(token), block.before(everything), None, real)
            token = token + block.after(heard)
            token = token + block.change(token)
        return Pooled(self.norm(token).squeeze(1), None)
