"""ParticleNet: edge convolutions over the nearest objects of an event        Qu and Gouskos 2020, arXiv:1902.08570"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from reconstruction.errors import UserError
from reconstruction.models.conditioning.context import ContextVector
from reconstruction.models.edges import EdgeConv, EdgeConvEncoder, nearest_objects, of_neighbours
from reconstruction.models.encoders.base import Sequence
from reconstruction.models.encoders.pooling import PoolingName
from reconstruction.models.encoders.positions import valid_positions
from reconstruction.shapes import Float, Lengths, Series

KINEMATICS = 4
"""The last channels of an object: ln(pT/GeV), η, cos φ, sin φ."""
RIPPLES = (4.0, 8.0, 16.0)
"""Frequencies in ln m: with the last of them a tenth of a mass is a quarter of a turn."""
PAIR_FEATURES = 4 + 2 * len(RIPPLES)
WINDOWS = (0.02, 0.06, 0.2)
"""How near in ln m a pair is to a mass that is told: a resolution of muons, three of them, ten."""
HYPOTHESIS_FEATURES = 2 * len(WINDOWS)
LOG_MASS = 4.0
"""About the ln(m/GeV) of a pair."""
LEAST = 1e-6
"""Of (m/pT)² of a pair: two objects in one direction have no logarithm of a mass."""


class ParticleNetEncoder(EdgeConvEncoder):
    """Edge convolutions over the k nearest objects: in η and φ first, then in the features of the block before.

    A context modulates the objects before the first block and behind each, so at several scales: before, because masses
    are features of edges, and what a pair of objects has to weigh is what the network is told.

    Args:
        in_channels: channels of an object; the last four are ln(pT/GeV), η, cos φ and sin φ.
        width: features of an object that the first block reads.
        widths: features behind each block.
        neighbours: of each object, k; fewer where an event has fewer others.
        depth: linear layers on each edge of a block.
        pairs: whether edges also know mass, transverse mass, distance and angle of their pair (not in the paper).
        pooling: "mean", "attention" or "last"; all but the last are blind to the order of the objects.

    """

    def __init__(
        self,
        in_channels: int,
        width: int = 32,
        widths: tuple[int, ...] = (64, 128, 256),
        *,
        neighbours: int = 7,
        depth: int = 3,
        pairs: bool = True,
        pooling: PoolingName = "mean",
    ) -> None:
        if in_channels < KINEMATICS or neighbours < 1 or depth < 1 or not widths or min(width, *widths) < 1:
            raise UserError(
                f"ParticleNet needs objects with at least {KINEMATICS} channels, the last of them ln pT, η, cos φ and "
                f"sin φ, and at least one neighbour, layer and width, not {in_channels} channels, {neighbours} "
                f"neighbours, a depth of {depth} and widths of {[width, *widths]}"
            )
        super().__init__(in_channels, in_channels, width, widths, PAIR_FEATURES * pairs, neighbours, depth, pooling)
        self.pairs, self.hypotheses = pairs, 0

    def weigh_against(self, hypotheses: int) -> None:
        """Let edges also know how near the mass of their pair is to masses that are told: `hypotheses` many.

        Their logarithms, in GeV, are channels before the kinematics. Raises UserError where edges know no masses.
        """
        if not self.pairs:
            raise UserError(
                "masses of pairs are compared with those that are told: ParticleNet needs pairs=true for it"
            )
        self.hypotheses = hypotheses
        for block in self.blocks:
            assert isinstance(block, EdgeConv)
            assert block.pair is not None
            block.pair = nn.Linear(
                PAIR_FEATURES + hypotheses * HYPOTHESIS_FEATURES, block.pair.out_features, bias=False
            )

    def sequence(
        self, series: Series, lengths: Lengths | None = None, context: ContextVector | None = None
    ) -> Sequence:
        """Return (batch, object, width) features, zero beyond each event's objects."""
        valid = None if lengths is None else valid_positions(lengths, series.shape[1])
        if valid is not None:
            series = series * valid.unsqueeze(-1).to(series.dtype)
        kinematics = series[..., -KINEMATICS:]
        features = pair_features(kinematics) if self.pairs else None
        if features is not None and self.hypotheses:
            told = series[:, :1, -KINEMATICS - self.hypotheses : -KINEMATICS]  # of the event: the same for all objects
            features = torch.cat([features, hypothesis_features(features[..., 0] + LOG_MASS, told)], dim=-1)
        values = self.modulated(self.project(series), 0, context, lengths)
        places = kinematics[..., 1:]  # the chord between two directions grows with the angle, and knows no seam
        for layer, block in enumerate(self.blocks, 1):
            near, heard = nearest_objects(places, valid, self.neighbours)
            pairs = None if features is None else of_neighbours(features, near)
            values = self.modulated(block(values, pairs, near, heard), layer, context, lengths)
            places = values
        return Sequence(values if valid is None else values * valid.unsqueeze(-1).to(values.dtype), lengths)


def pair_features(kinematics: Float[Tensor, "batch object 4"]) -> Float[Tensor, "batch object object feature"]:
    """Return what is known of each pair: ln m − 4, ln m_T − 4, |Δη|, cos Δφ, sines and cosines of RIPPLES times ln m.

    m² = 2 pT_i pT_j (cosh Δη − cos Δφ), massless; m_T² the same without Δη, for what has no η. A resonance is a few
    per cent wide, and a network learns fine steps of a number from its ripples    Tancik et al. 2020, arXiv:2006.10739
    """
    log_pt, eta, cosine, sine = kinematics.unbind(-1)
    logs = (log_pt.unsqueeze(2) + log_pt.unsqueeze(1)) / 2
    apart = (eta.unsqueeze(2) - eta.unsqueeze(1)).abs()
    turn = cosine.unsqueeze(2) * cosine.unsqueeze(1) + sine.unsqueeze(2) * sine.unsqueeze(1)
    across = (1 - turn).clamp(min=0)
    # cosh x − 1 = 2 sinh²(x/2): near 0 without losing digits
    along = 2 * torch.sinh(apart.clamp(max=10) / 2).square()
    masses = [logs + torch.log(2 * part.clamp(min=LEAST)) / 2 for part in (along + across, across)]
    ripples = [wave(frequency * masses[0]) for frequency in RIPPLES for wave in (torch.sin, torch.cos)]
    return torch.stack([masses[0] - LOG_MASS, masses[1] - LOG_MASS, apart, turn, *ripples], dim=-1)


def hypothesis_features(
    log_masses: Float[Tensor, "batch object object"], told: Float[Tensor, "batch 1 hypothesis"]
) -> Float[Tensor, "batch object object feature"]:
    """Return exp(−x²/2) and x exp(−x²/2) for each of WINDOWS, x = (ln m − ln m_told)/window, one mass after the other.

    They are the same wherever the mass is, so that what is learned at some masses holds between them; far from it they
    are 0, and for a mass of 0 GeV or one that is not known (ln m = 0), too.
    """
    away = log_masses.unsqueeze(-1) - told.unsqueeze(1)
    found = []
    for x in (away / window for window in WINDOWS):
        near = torch.exp(-x.square() / 2)
        found += [near, x * near]
    return torch.stack(found, dim=-1).flatten(-2)
