"""Sums over the lines of templates at every axial phase, which nothing tells beforehand and which is averaged over."""

from __future__ import annotations

import math

import torch
from jaxtyping import Complex, Float, Int
from torch import Tensor

from cres.estimation.apparatus import Reception
from cres.estimation.search.templates import FINE_PHASES


class PhaseSums:
    """Axial phases ψ, evenly over the period that the harmonics m leave; single precision."""

    def __init__(self, harmonics: Int[Tensor, "line"], reception: Reception, phases: int = FINE_PHASES) -> None:
        self.harmonics, self.reception = harmonics, reception
        period_rad = math.pi if bool((harmonics % 2 == 0).all()) else 2 * math.pi
        self.step_rad = period_rad / phases
        self.psi = torch.arange(phases, device=harmonics.device) * self.step_rad

    def turned(self, values: Complex[Tensor, "*point line"]) -> Complex[Tensor, "*point phase"]:
        """Return Σ_m v_m e^{−imψ}: the inner product of data with a template turned by each axial phase."""
        return values @ self._turns(-self.harmonics)

    def powers(
        self, axial_hz: Float[Tensor, "batch template"], lines: Complex[Tensor, "batch template line"]
    ) -> Float[Tensor, "batch template phase"]:
        """Return ⟨template, template⟩ in units of the noise, at each axial phase.

        Lines a bin or two apart are not orthogonal: Σ_mn c_m* c_n e^{i(n−m)ψ} D((n−m) f_a), D the Dirichlet kernel.
        """
        distance = self.harmonics - self.harmonics[:, None]
        apart = distance[distance > 0].unique()
        pairs = [torch.nonzero(distance == d).T for d in apart]
        mixed = torch.stack([(lines[..., m].conj() * lines[..., n]).sum(-1) for m, n in pairs], -1)
        angle = math.pi * apart * axial_hz[:, :, None] / self.reception.sampling_rate_hz
        kernel = torch.sin(self.reception.samples * angle) / (self.reception.samples * torch.sin(angle))
        own = lines.abs().square().sum(2, keepdim=True)
        return (own + 2 * ((mixed * kernel).to(torch.complex64) @ self._turns(apart)).real).float()

    def _turns(self, orders: Int[Tensor, "order"]) -> Complex[Tensor, "order phase"]:
        """Return e^{imψ} at the axial phases."""
        return torch.exp(1j * orders[:, None] * self.psi).to(torch.complex64)
