"""From the configured trap to its physics and to its motion."""

from __future__ import annotations

from cres.physics.fields import QuadraticField, TiltedField
from cres.physics.traps import BathtubTrap, CoilTrap, HarmonicTrap, NumericalTrap, Trap
from cres.simulation.config import TrapConfig
from cres.simulation.motion import BathtubMotion, HarmonicMotion, Motion
from cres.simulation.numerical_motion import NumericalMotion

HARMONIC_REACH = 0.2
"""With a gradient, electrons of a harmonic trap may go so many gradient lengths from its middle: 79° and more."""


def make_trap(trap: TrapConfig) -> Trap:
    """Return the trap of `cres.physics`."""
    if trap.kind == "bathtub":
        return BathtubTrap(trap.field_t, trap.flat_length_m, trap.gradient_length_m)
    if trap.kind == "harmonic" and trap.background_gradient_t_per_m == 0:
        return HarmonicTrap(trap.field_t, trap.gradient_length_m)
    return _numerical(trap)


def _numerical(trap: TrapConfig) -> NumericalTrap:
    gradient = trap.background_gradient_t_per_m
    if trap.kind == "coils":
        return CoilTrap(trap.field_t, trap.coils, gradient)
    if trap.kind == "map":
        field = trap.field_map
        tilted = TiltedField(field, gradient) if gradient else field
        return NumericalTrap(tilted, field.interval_m, field.symmetric and gradient == 0)
    reach = HARMONIC_REACH * trap.gradient_length_m
    harmonic = QuadraticField(trap.field_t, trap.gradient_length_m)
    return NumericalTrap(TiltedField(harmonic, gradient), (-reach, reach))


def make_motion(trap: TrapConfig) -> Motion:
    """Return the differentiable motion. `bathtub` ignores the radius."""
    if trap.kind == "bathtub":
        return BathtubMotion(trap.field_t, trap.flat_length_m, trap.gradient_length_m)
    if trap.kind == "harmonic" and trap.background_gradient_t_per_m == 0:
        return HarmonicMotion(trap.field_t, trap.gradient_length_m)
    return NumericalMotion(_numerical(trap))
