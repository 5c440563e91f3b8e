"""What two particles are to each other, and how strongly they attend to each other because of it."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from collider.jets.features import FourVectors
from reconstruction.models.precision import in_precision
from reconstruction.models.scaling import Standardise
from reconstruction.shapes import Bool, Float

PAIR_FEATURES = 4
LEAST = 1e-8
"""Logarithms begin here: of the angle between two particles in the same direction, for example."""
MOST_SPREADS = 5.0
"""Standardised features beyond this are cut: what is left of a logarithm at LEAST."""


def pair_features(momenta: FourVectors) -> Float[Tensor, "batch pair 4"]:
    """Return ln ΔR, ln k_T, ln z, ln m² of all pairs i < j, in the order of `torch.triu_indices`.

    ΔR² = Δy² + Δφ², k_T = min(pT) ΔR, z = min(pT)/(pT_i + pT_j), m² = (E_i + E_j)² − |p_i + p_j|²
    Qu, Li, Qian 2022, arXiv:2202.03772, eq. 3; y is the rapidity
    """
    first, second = upper(momenta.shape[1], momenta.device)
    exact = momenta if momenta.dtype == torch.float64 else in_precision(momenta, torch.float32)
    px, py, pz, energy = exact.unbind(-1)
    pt = (px.square() + py.square()).sqrt()
    rapidity = 0.5 * torch.log((energy + pz).clamp(min=LEAST) / (energy - pz).clamp(min=LEAST))
    phi = torch.atan2(py, px)
    away = phi[:, first] - phi[:, second]
    dphi = torch.remainder(away + torch.pi, 2 * torch.pi) - torch.pi
    distance = ((rapidity[:, first] - rapidity[:, second]).square() + dphi.square()).clamp(min=LEAST**2).sqrt()
    softer = torch.minimum(pt[:, first], pt[:, second])
    both = exact[:, first] + exact[:, second]
    mass2 = both[..., 3].square() - both[..., :3].square().sum(-1)
    found = (distance, softer * distance, softer / (pt[:, first] + pt[:, second]).clamp(min=LEAST), mass2)
    return torch.stack([one.clamp(min=LEAST).log() for one in found], dim=-1)


def upper(particles: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Return the places of the first and the second of all pairs i < j."""
    first, second = torch.triu_indices(particles, particles, 1, device=device).unbind(0)
    return first, second


class PairBias(nn.Module):
    """From pairs to what is added to the logits of attention, one number a head; a particle and itself have 0.

    The features are standardised with what the training split has; both orders of a pair share one number.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.scale = Standardise(PAIR_FEATURES)
        self.network = nn.Sequential(
            nn.Linear(PAIR_FEATURES, width),
            nn.GELU(),
            nn.Linear(width, width),
            nn.GELU(),
            nn.Linear(width, heads),
        )

    def forward(
        self, momenta: FourVectors, shown: Bool[Tensor, "batch particle"]
    ) -> Float[Tensor, "batch head particle particle"]:
        """Return the bias; pairs with a particle that is not shown have 0."""
        count = momenta.shape[1]
        features = pair_features(momenta)
        scaled = self.scale(features.flatten(0, 1)).view_as(features).clamp(-MOST_SPREADS, MOST_SPREADS)
        first, second = upper(count, momenta.device)
        made = self.network(in_precision(scaled, self.network[0].weight.dtype))  # type: ignore[arg-type]
        made = made * (shown[:, first] & shown[:, second]).unsqueeze(-1).to(made.dtype)
        # the last entry stands for a particle and itself
        made = torch.cat([made, made.new_zeros(len(made), 1, self.heads)], dim=1)
        return made[:, self._places(count, momenta.device)].permute(0, 3, 1, 2)

    @staticmethod
    def _places(count: int, device: torch.device) -> Tensor:
        """Return which pair stands at each place of the matrix, (particle, particle)."""
        first, second = upper(count, device)
        places = torch.full((count, count), len(first), device=device)
        numbers = torch.arange(len(first), device=device)
        places[first, second] = numbers
        places[second, first] = numbers
        return places
