"""The section `cavity` of a configuration: one mode by a few keys, or a list of modes and the ports that see them."""

from __future__ import annotations

import cmath
import math
from dataclasses import dataclass, fields
from functools import lru_cache

import numpy as np

from cres.errors import UserError
from cres.physics.cavity import mode_frequency_hz, port_share
from cres.physics.modes import ComplexArray, ModeResponse, ModeShape, axial_coupling, mode_response

SINGLE_MODE_KEYS = ("radial_index", "axial_index", "resonance_hz", "loaded_q", "unloaded_q")


@dataclass(frozen=True)
class ModeConfig:
    """One mode of a cavity.

    name: TE011, TE012, TE111, TM110, … (TE_mnp, TM_mnp). resonance_hz: that of the cavity's dimensions where it is 0.
    loaded_q, unloaded_q: as in one mode's keys. couplings: to each port, [amplitude, phase_deg], amplitude² the part of
    the mode's lost power that leaves there; where none are given they follow from the places of the ports, loops or
    slits that read H_z on the wall and see no TM mode. What a port would see of a mode that is not the same at every
    azimuth (m ≥ 1) turns with the electron's azimuth, which a record here does not depend on: such modes take power
    from electrons, and no port sees them.
    """

    name: str = ""
    resonance_hz: float = 0.0
    loaded_q: float = 400.0
    unloaded_q: float = 1060.0
    couplings: tuple[tuple[float, float], ...] = ()

    def __post_init__(self) -> None:
        try:
            shape = self.shape
        except ValueError as error:
            raise UserError(
                f"cavity.modes: {self.name!r} is no mode that is simulated: name TE011, TE111, TM110, … "
                "(TE_mnp with p from 1, TM_mnp with p from 0, m to 4, n from 1 to 4)"
            ) from error
        if shape.azimuthal and any(amplitude for amplitude, _ in self.couplings):
            raise UserError(
                f"cavity.modes: {self.name} is not the same at every azimuth, and what a port sees of it would turn "
                "with the electron's azimuth, which records are no function of here: leave its couplings out"
            )
        if not self.resonance_hz >= 0:
            raise UserError(f"cavity.modes: {self.name} needs a positive resonance_hz, not {self.resonance_hz!r}")
        if not 0 < self.loaded_q < self.unloaded_q:
            raise UserError(f"cavity.modes: loaded_q of {self.name} must be positive and below its unloaded_q")

    @property
    def shape(self) -> ModeShape:
        """Its indices, and what follows from them. Raises ValueError where there is no such mode."""
        return ModeShape.of(self.name)


@dataclass(frozen=True)
class Field:
    """A field that an electron drives: a mode, or one of the two that turn about the axis, e^{imφ}, of a pair."""

    mode: ModeConfig
    turns: int

    @property
    def coupled_order(self) -> int:
        """The order m − 1 of the Bessel function at the guiding centre (Graf's addition theorem)."""
        return self.turns - 1


@dataclass(frozen=True)
class PortConfig:
    """A port in the cavity's wall, `axial_m` from the cavity's centre; the first is read by channel 0.

    share: the part of a mode's external loss, 1/Q_L − 1/Q_0, that it takes where it sits at an antinode of that mode.
    """

    axial_m: float = 0.0
    share: float = 1.0

    def __post_init__(self) -> None:
        if not 0 < self.share <= 1:
            raise UserError(f"cavity.ports: share must lie in 0 to 1, not {self.share!r}")


@dataclass(frozen=True)
class CavityConfig:
    """Cylindrical cavity, centred on the trap but for `offset_m`, with one mode TE0np or with several of any kind.

    One mode: the five keys of its indices, resonance and Q; its port sits at an antinode. Several: `modes`, and the
    `ports` that see them (one in the middle where none is given); the five keys are then those of the first mode.
    """

    radius_m: float = 7.063e-3
    length_m: float = 0.150
    radial_index: int = 1
    axial_index: int = 1
    resonance_hz: float = 25.905e9
    loaded_q: float = 400.0
    unloaded_q: float = 1060.0
    offset_m: float = 0.0
    modes: tuple[ModeConfig, ...] = ()
    ports: tuple[PortConfig, ...] = ()

    def __post_init__(self) -> None:
        for name in ("radius_m", "length_m"):
            if not getattr(self, name) > 0:
                raise UserError(f"cavity.{name} must be positive, not {getattr(self, name)!r}")
        if not 0 < self.loaded_q < self.unloaded_q:
            raise UserError("cavity.loaded_q must be positive and below cavity.unloaded_q")
        for port in self.ports:
            if abs(port.axial_m) > self.length_m / 2:
                raise UserError(f"cavity.ports: {port.axial_m:g} m lies outside of a cavity of {self.length_m:g} m")
        if self.ports and not self.modes:
            raise UserError("cavity.ports belong to cavity.modes: a cavity of one mode has its port at the antinode")
        if self.modes:
            self._take_first_mode()
            self._check_couplings()

    def _take_first_mode(self) -> None:
        names = [mode.name for mode in self.modes]
        if len(set(names)) < len(names):
            raise UserError(f"cavity.modes names a mode twice: {', '.join(names)}")
        first = self.modes[0]
        if not first.shape.electric or first.shape.azimuthal:
            raise UserError(
                f"cavity.modes begins with {first.name}: no mode that is simulated can be the first but a TE0np, which "
                "a port reads at every azimuth alike"
            )
        values = (first.shape.radial, first.shape.axial, self.mode_hz(first), first.loaded_q, first.unloaded_q)
        defaults = {field.name: field.default for field in fields(CavityConfig)}
        for key, value in zip(SINGLE_MODE_KEYS, values, strict=True):
            if getattr(self, key) not in (defaults[key], value):
                raise UserError(
                    f"cavity.{key} is that of a cavity of one mode: give it in cavity.modes, or give no modes"
                )
            object.__setattr__(self, key, value)

    def mode_hz(self, mode: ModeConfig) -> float:
        """Return a mode's resonance: its own, or that of the cavity's dimensions."""
        shape = mode.shape
        if shape.electric and shape.azimuthal == 0:
            hz = mode_frequency_hz(self.radius_m, self.length_m, shape.radial, shape.axial)
        else:
            hz = shape.resonance_hz(self.radius_m, self.length_m)
        return mode.resonance_hz or hz

    @property
    def all_modes(self) -> tuple[ModeConfig, ...]:
        """The modes, also where there is one."""
        name = f"TE0{self.radial_index}{self.axial_index}"
        return self.modes or (ModeConfig(name, self.resonance_hz, self.loaded_q, self.unloaded_q),)

    @property
    def fields(self) -> tuple[Field, ...]:
        """What an electron drives, in the order of the modes; of a pair the two that turn, at any azimuth alike."""
        return _fields(self.all_modes)

    @property
    def couplings(self) -> ComplexArray:
        """(port, field) amplitudes; |c|² is the part of the field's lost power that leaves at the port."""
        if not self.modes:
            return np.array([[math.sqrt(port_share(self.loaded_q, self.unloaded_q))]], np.complex128)
        columns = [self._couplings_of(field.mode) for field in self.fields]
        return np.array(columns, np.complex128).T

    def probe_couplings(self, axial_m: float) -> ComplexArray:
        """Return what a probe at a place would see of the fields, (field,), were it the port."""
        port = PortConfig(axial_m)
        return np.array([self._from_place(field.mode, port) for field in self.fields], np.complex128)

    def _couplings_of(self, mode: ModeConfig) -> list[complex]:
        if not mode.couplings:
            return [self._from_place(mode, port) for port in self.ports or (PortConfig(),)]
        if len(mode.couplings) != max(len(self.ports), 1):
            raise UserError(
                f"cavity.modes: {mode.name} has {len(mode.couplings)} couplings and the cavity "
                f"{max(len(self.ports), 1)} ports: give one [amplitude, phase_deg] for each port, or none"
            )
        return [cmath.rect(amplitude, math.radians(phase_deg)) for amplitude, phase_deg in mode.couplings]

    def _from_place(self, mode: ModeConfig, port: PortConfig) -> complex:
        shape = mode.shape
        if shape.azimuthal or not shape.electric:
            return 0j
        share = port.share * port_share(mode.loaded_q, mode.unloaded_q)
        return complex(math.sqrt(share) * axial_coupling(port.axial_m, self.length_m, shape.axial))

    def _check_couplings(self) -> None:
        leaving = (np.abs(self.couplings) ** 2).sum(0)
        for mode, part in zip((field.mode for field in self.fields), leaving, strict=True):
            most = port_share(mode.loaded_q, mode.unloaded_q)
            if part > most + 1e-9:
                raise UserError(
                    f"cavity.modes: {part:.3f} of the power of {mode.name} would leave through the ports, and its "
                    f"loaded and unloaded Q allow {most:.3f}: lower the couplings, or the shares of the ports"
                )

    def mode_rows(self) -> list[list[float]]:
        """Return the modes of `transforms.CavityNoise`: resonance, loaded Q, amplitude and phase at each port."""
        return [
            [
                self.mode_hz(field.mode),
                field.mode.loaded_q,
                *(part for c in seen for part in (abs(c), math.degrees(cmath.phase(c)))),
            ]
            for field, seen in zip(self.fields, self.couplings.T.tolist(), strict=True)
        ]

    def response(self) -> ModeResponse:
        """Return what sources excite in the modes and what ports see of it."""
        return _response(self)


@lru_cache(maxsize=32)
def _response(cavity: CavityConfig) -> ModeResponse:
    modes = [field.mode for field in cavity.fields]
    resonance = np.array([cavity.mode_hz(mode) for mode in modes])
    return mode_response(resonance, np.array([mode.loaded_q for mode in modes]), cavity.couplings)


def _fields(modes: tuple[ModeConfig, ...]) -> tuple[Field, ...]:
    found: list[Field] = []
    for mode in modes:
        azimuthal = mode.shape.azimuthal
        found += [Field(mode, turns) for turns in ((azimuthal, -azimuthal) if azimuthal else (0,))]
    return tuple(found)
