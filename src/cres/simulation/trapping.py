"""From the configured trap to its physics and to its motion."""

from __future__ import annotations

from cres.physics.traps import BathtubTrap, CoilTrap, HarmonicTrap, NumericalTrap, Trap
from cres.simulation.config import TrapConfig
from cres.simulation.motion import BathtubMotion, Motion
from cres.simulation.numerical_motion import NumericalMotion


def make_trap(trap: TrapConfig) -> Trap:
    """Return the trap of `cres.physics`."""
    if trap.kind == "bathtub":
        return BathtubTrap(trap.field_t, trap.flat_length_m, trap.gradient_length_m)
    if trap.kind == "harmonic":
        return HarmonicTrap(trap.field_t, trap.gradient_length_m)
    return _numerical(trap)


def _numerical(trap: TrapConfig) -> NumericalTrap:
    return CoilTrap(trap.field_t, trap.coils, trap.background_gradient_t_per_m)


def make_motion(trap: TrapConfig) -> Motion:
    """Return the differentiable motion. `bathtub` and `harmonic` ignore the radius."""
    if trap.kind == "bathtub":
        return BathtubMotion(trap.field_t, trap.flat_length_m, trap.gradient_length_m)
    if trap.kind == "harmonic":
        return BathtubMotion(trap.field_t, 0.0, trap.gradient_length_m)
    return NumericalMotion(_numerical(trap))
