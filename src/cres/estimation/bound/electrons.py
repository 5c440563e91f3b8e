"""The Cramér–Rao bound of electrons in an apparatus: what is free, what is known, what is under a prior.

What is taken for known of the radiated power is worth a factor, so that bounds have names. Power shows in a record
twice, in its amplitude and in the energy that the electron loses on the way. *Tied*: one free strength s scales the
amplitude by s and the loss by s², for whoever knows the apparatus, but not how strongly this electron couples. *Loss
known*: the amplitude is free alone. *Loss free*: both are, each for itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from cres import schema
from cres.errors import UserError, nearest
from cres.estimation.apparatus import Apparatus
from cres.estimation.bound.information import (
    CHIRP,
    LOSS,
    START_TIME,
    Bound,
    area_prior_precision,
    cramer_rao,
    fisher_information,
)
from cres.estimation.estimates import Estimated
from cres.estimation.noise import NoiseModel, White
from cres.estimation.placement import on_host
from cres.simulation.config import SimulationConfig

# Traps in which the radius moves no frequency.
RADIUS_BLIND_TRAPS = ("bathtub",)

TIED, LOSS_KNOWN, LOSS_FREE = "tied", "loss-known", "loss-free"
BOUNDS = (TIED, LOSS_KNOWN, LOSS_FREE)
"""Names of bounds, by what they take the radiated loss to be."""
ALSO_FREE = {"start-time": START_TIME, "slope": CHIRP}
"""What a bound can free besides: when the electron is born, a slope of the carrier that no parameter explains."""


@dataclass(frozen=True)
class Freedom:
    """Parameters that the bound frees; the others are known.

    prior_precision: 1/variance by parameter. bound: one of `BOUNDS`; tied, a free amplitude is the strength.
    """

    free: tuple[str, ...]
    prior_precision: dict[str, float]
    bound: str = TIED


def freedom(config: SimulationConfig, bound: str = TIED, also: Sequence[str] = ()) -> Freedom:
    """Return what is free in an apparatus.

    Where the radius moves no frequency it is degenerate with the strength: the radius is known, the strength free.
    In a trap with a radial field the radius, which ties amplitude and loss by itself, has its prior, uniform in area
    (Van Trees). A gain that is not known exactly (`readout.gain_std`) has its prior: between coils it scales the
    amplitude alone; in a bathtub, where the amplitude is free, it is what ties the loss to it. `bound` is one of
    `BOUNDS`, `also` of `ALSO_FREE`. Raises UserError for other names and for bounds that an apparatus does not have.
    """
    _check(bound, BOUNDS, "bound")
    for name in also:
        _check(name, tuple(ALSO_FREE), "free parameter")
    others = tuple(ALSO_FREE[name] for name in dict.fromkeys(also))
    if bound == LOSS_FREE:
        if config.loss.kind == "off":
            raise UserError("electrons of this apparatus lose nothing (loss.kind off): ask for the bound tied")
        others = (LOSS, *others)
    common = ("energy_ev", "pitch_angle_deg", "start_phase_rad", "axial_phase_rad")
    gain_std = config.readout.gain_std
    if config.trap.kind in RADIUS_BLIND_TRAPS:
        if bound == TIED and gain_std > 0 and config.loss.kind != "off":
            return Freedom((*common, "amplitude", LOSS, *others), {LOSS: gain_std**-2}, bound)
        return Freedom((*common, "amplitude", *others), {}, bound)
    if bound == LOSS_KNOWN:
        raise UserError(
            f"in a trap of kind {config.trap.kind} the radius is unknown and sets the loss: ask for the bound tied, "
            "or loss-free"
        )
    prior = {"radius_m": area_prior_precision(config.ensemble.radius_m[1])}
    if gain_std > 0:
        others, prior = ("amplitude", *others), {**prior, "amplitude": (gain_std / 2) ** -2}
    return Freedom((*common, "radius_m", *others), prior, bound)


def _check(name: str, known: Sequence[str], what: str) -> None:
    if name not in known:
        raise UserError(f"unknown {what} {name!r}{nearest(name, known)}: known are {', '.join(known)}")


def bound_of(
    apparatus: Apparatus, free: Freedom, parameters: Float[Tensor, "batch 6"], noise: NoiseModel | None = None
) -> Bound:
    """Return the bound at parameters of electrons; white noise of the apparatus unless told otherwise."""
    noise = noise or White(apparatus.noise_std_volt)
    rate = apparatus.reception.sampling_rate_hz
    # where the radius is free it ties amplitude and loss, and an amplitude beside it is the gain's
    tied = free.bound == TIED and "radius_m" not in free.free
    information = fisher_information(apparatus.model, parameters, noise, free.free, rate, tied=tied)
    return cramer_rao(information, free.free, free.prior_precision)


def electron_bounds(
    apparatus: Apparatus,
    config: SimulationConfig,
    parameters: Float[Tensor, "batch 6"],
    noise: NoiseModel | None = None,
    free: Freedom | None = None,
) -> Estimated:
    """Return the bound as a table's columns: estimates are the truth, uncertainties the bound, tied unless told."""
    free = free or freedom(config)
    found = bound_of(apparatus, free, parameters, noise)
    std = on_host(found.std)
    others = {f"bound_{name}": std[:, i] for i, name in enumerate(free.free) if i >= len(schema.DEFAULT_TARGETS)}
    extra = {
        "information_singular": on_host(found.singular),
        "smallest_eigenvalue": on_host(found.smallest_eigenvalue),
        **{f"weakest_direction_{name}": on_host(found.weakest_direction[:, i]) for i, name in enumerate(free.free)},
        **others,
    }
    targets = range(len(schema.DEFAULT_TARGETS))
    return Estimated(
        {name: on_host(parameters[:, i]) for i, name in zip(targets, schema.DEFAULT_TARGETS, strict=True)},
        {name: std[:, i] for i, name in zip(targets, schema.DEFAULT_TARGETS, strict=True)},
        extra,
        on_host(found.covariance[:, :2, :2]),
        "bound",
        {"bound": free.bound, "bound_free": list(free.free)},
    )
