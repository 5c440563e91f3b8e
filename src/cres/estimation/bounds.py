"""The Cramér–Rao bound of electrons in an apparatus: what is free, what is known, what is under a prior."""

from __future__ import annotations

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from cres import schema
from cres.estimation.apparatus import Apparatus
from cres.estimation.information import Bound, area_prior_precision, cramer_rao, fisher_information
from cres.estimation.noise import NoiseModel, White
from cres.estimation.tables import Estimates
from cres.simulation.config import SimulationConfig

# Traps in which the radius moves no frequency.
RADIUS_BLIND_TRAPS = ("bathtub",)


@dataclass(frozen=True)
class Freedom:
    """Parameters that the bound frees; the others are known. prior_precision: 1/variance by parameter."""

    free: tuple[str, ...]
    prior_precision: dict[str, float]


def freedom(config: SimulationConfig) -> Freedom:
    """Return what is free in an apparatus.

    Where the radius moves no frequency it is degenerate with the amplitude: the radius is known, the amplitude free.
    In a trap with a radial field the gain is known and the radius has its prior, uniform in area (Van Trees).
    """
    common = ("energy_ev", "pitch_angle_deg", "start_phase_rad", "axial_phase_rad")
    if config.trap.kind in RADIUS_BLIND_TRAPS:
        return Freedom((*common, "amplitude"), {})
    return Freedom((*common, "radius_m"), {"radius_m": area_prior_precision(config.ensemble.radius_m[1])})


def bound_of(
    apparatus: Apparatus, free: Freedom, parameters: Float[Tensor, "batch 6"], noise: NoiseModel | None = None
) -> Bound:
    """Return the bound at parameters of electrons; white noise of the apparatus unless told otherwise."""
    noise = noise or White(apparatus.noise_std_volt)
    information = fisher_information(apparatus.model, parameters, noise, free.free)
    return cramer_rao(information, free.free, free.prior_precision)


def electron_bounds(
    apparatus: Apparatus,
    config: SimulationConfig,
    parameters: Float[Tensor, "batch 6"],
    noise: NoiseModel | None = None,
) -> Estimates:
    """Return the bound as a table's columns: estimates are the truth, uncertainties the bound."""
    free = freedom(config)
    found = bound_of(apparatus, free, parameters, noise)
    std = found.std.numpy()
    others = {f"bound_{name}": std[:, i] for i, name in enumerate(free.free) if i >= len(schema.DEFAULT_TARGETS)}
    extra = {
        "information_singular": found.singular.numpy(),
        "smallest_eigenvalue": found.smallest_eigenvalue.numpy(),
        **{f"weakest_direction_{name}": found.weakest_direction[:, i].numpy() for i, name in enumerate(free.free)},
        **others,
    }
    targets = range(len(schema.DEFAULT_TARGETS))
    return Estimates(
        {name: parameters[:, i].numpy() for i, name in zip(targets, schema.DEFAULT_TARGETS, strict=True)},
        {name: std[:, i] for i, name in zip(targets, schema.DEFAULT_TARGETS, strict=True)},
        extra,
        found.covariance[:, :2, :2].numpy(),
        "bound",
    )
