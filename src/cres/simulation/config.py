"""What is simulated: apparatus, ensemble and processes, typed, from YAML, with unknown keys refused."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from cres.errors import UserError, nearest
from cres.physics.beta import T2_ENDPOINT_EV
from cres.physics.cyclotron import gyroradius_m
from cres.physics.field_map import MapField
from cres.physics.final_states import FinalStates
from cres.physics.krypton import LINES, lines_between
from cres.schema import DEFAULT_LO_FREQUENCY_HZ, DEFAULT_SAMPLING_RATE_HZ
from cres.simulation.cavity_config import CavityConfig
from cres.simulation.channels import ChannelConfig
from cres.simulation.electron_table import read_electron_table
from cres.simulation.field_maps import check_reach, file_sha256, read_field_map
from cres.simulation.kinds_config import KindsConfig
from cres.simulation.receiver import ReceiverTerm, build_receiver
from cres.simulation.scattering_config import ScatteringConfig
from cres.transforms import RandomChain
from cres.transforms.noise import NOMINAL_DENSITY_W_PER_HZ
from cres.transforms.temperature import noise_temperature_k, thermal_density_w_per_hz
from cres.yaml_files import read_yaml
from reconstruction.configuration import build

TRAP_KINDS = ("bathtub", "harmonic", "coils", "map")
LOSS_KINDS = ("cavity", "free_space", "off")
ENSEMBLE_KINDS = ("uniform", "tritium", "krypton", "table")
BIRTHS = ("minimum", "field_line")
SOURCE_MASS_U = {"tritium": 6.032, "krypton": 83.913}
"""Of T₂ and of ⁸³ᵐKr (AME2020), for the thermal motion of the source."""

T = TypeVar("T")


@dataclass(frozen=True)
class TrapConfig:
    """Magnetic trap. `bathtub` (the radius plays no part) and `harmonic` are closed forms, `coils` and `map` numerical.

    coils: (radius_m, axial_m, current_a) each, on the background field_t. map: file of a field map (`field_maps`),
    beside the YAML file or named from the working directory; field_t is then its field on the axis in the middle, and
    map_sha256 the hash of the file that was used. background_gradient_t_per_m: B_z grows so much along z, in addition.
    """

    kind: str = "bathtub"
    field_t: float = 0.95903
    flat_length_m: float = 0.12
    gradient_length_m: float = 0.38
    coils: tuple[tuple[float, float, float], ...] = ()
    background_gradient_t_per_m: float = 0.0
    map: str = ""
    map_sha256: str = ""

    def __post_init__(self) -> None:
        _choice("trap.kind", self.kind, TRAP_KINDS)
        _positive("trap.field_t", self.field_t)
        _positive("trap.gradient_length_m", self.gradient_length_m)
        if self.kind == "coils" and (not self.coils or (len(self.coils) == 1 and self.coils[0][2] >= 0)):
            raise UserError(
                "trap.coils needs at least two coils, each [radius_m, axial_m, current_a], or one whose negative "
                "current lowers the field into a well"
            )
        if self.kind == "coils" and any(radius <= 0 or current == 0 for radius, _, current in self.coils):
            raise UserError("trap.coils needs positive radii and currents that are not zero")
        if self.kind == "bathtub" and self.background_gradient_t_per_m != 0:
            raise UserError(
                "trap.background_gradient_t_per_m has no closed form in a bathtub: choose trap.kind harmonic, coils or "
                "map, or set it to 0"
            )
        if (self.kind == "map") != bool(self.map):
            raise UserError("trap.map names the file of a field map, and belongs to trap.kind map: give both or none")
        if self.kind == "map":
            object.__setattr__(self, "field_t", self.field_map.background_t)
            object.__setattr__(self, "map_sha256", file_sha256(self.map))

    @property
    def field_map(self) -> MapField:
        """The field of `map`; raises UserError where its file is missing, wrong or has changed."""
        return read_field_map(self.map, self.map_sha256)


@dataclass(frozen=True)
class ReadoutConfig:
    """Mixing, sampling, and the nominal noise that signal-to-noise ratios are quoted at.

    gain: power gain from the cavity's port to the digitiser. The noise is given by the temperature of the whole system,
    S = k T · gain at the digitiser (noise_temperature_k), or by that density itself, never by both; the other of the
    two is None. Where neither is given the density is `NOMINAL_DENSITY_W_PER_HZ`. gain_std: relative standard
    deviation of what is known of the gain, for estimators and bound; 0: it is known.
    """

    lo_frequency_hz: float = DEFAULT_LO_FREQUENCY_HZ
    sampling_rate_hz: float = DEFAULT_SAMPLING_RATE_HZ
    samples: int = 8192
    noise_density_w_per_hz: float | None = None
    noise_temperature_k: float | None = None
    resistance_ohm: float = 50.0
    gain: float = 2.708e9
    gain_std: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.gain_std < 1:
            raise UserError(f"readout.gain_std must lie in 0 (the gain is known) to 1, not {self.gain_std!r}")
        _positive("readout.sampling_rate_hz", self.sampling_rate_hz)
        _positive("readout.samples", self.samples)
        _positive("readout.gain", self.gain)
        if self.noise_temperature_k is None:
            if not self.density_w_per_hz >= 0:
                raise UserError(f"readout.noise_density_w_per_hz must be 0 or more, not {self.density_w_per_hz!r}")
            if self.noise_density_w_per_hz == NOMINAL_DENSITY_W_PER_HZ:  # said or not, it is the same apparatus
                object.__setattr__(self, "noise_density_w_per_hz", None)
            return
        if self.noise_density_w_per_hz is not None:
            raise UserError(
                "readout has noise_density_w_per_hz and noise_temperature_k, and the density follows from the "
                f"temperature, {self.density_w_per_hz:.4g} W/Hz at {self.noise_temperature_k:g} K: give one of the two"
            )
        _positive("readout.noise_temperature_k", self.noise_temperature_k)

    @property
    def density_w_per_hz(self) -> float:
        """Power density of the nominal noise at the digitiser."""
        if self.noise_temperature_k is not None:
            return float(thermal_density_w_per_hz(self.noise_temperature_k, self.gain))
        given = self.noise_density_w_per_hz
        return NOMINAL_DENSITY_W_PER_HZ if given is None else given

    @property
    def temperature_k(self) -> float:
        """Temperature of the whole system that makes the nominal noise."""
        return float(noise_temperature_k(self.density_w_per_hz, self.gain))

    @property
    def duration_s(self) -> float:
        """Length of a record."""
        return self.samples / self.sampling_rate_hz

    @property
    def complex_noise_variance(self) -> float:
        """σ_c² = 2σ² = R S f_s, volts squared."""
        return self.resistance_ohm * self.density_w_per_hz * self.sampling_rate_hz


@dataclass(frozen=True)
class EnsembleConfig:
    """Ranges of the start values: isotropic pitch angles, radius uniform in area, all phases uniform.

    An electron with a pitch angle above 90° crosses the field minimum downwards at axial phase 0.

    Energies are uniform (`uniform`), those of tritium beta decay up to the endpoint with `final_states` of the daughter
    (`tritium`: T2, HT, DT, T, none, the file of a table, or a mixture), or those of the lines of 83mKr (`krypton`),
    each cut to energy_ev; a fraction of the last two may be flat background over the whole range. below_window: tritium
    electrons below energy_ev are there, too, where their carrier lies in the band, i.e. is not above the highest
    carrier of the window.
    `table` takes start values from the columns of a file (`electron_table`), electron i from row i modulo its rows, and
    draws what has no column; who only needs the apparatus needs no such file.

    births: where electrons start isotropic, at the field minimum of their line (`minimum`) or anywhere along the line,
    in gas of one density (`field_line`, see `births`); pitch angles are always those at the minimum.
    source_temperature_k: of the source whose thermal motion widens the lines of krypton and tritium's spectrum
    (Doppler; 0: at rest); source_mass_u: of its molecules (0: T₂ or Kr).
    """

    kind: str = "uniform"
    endpoint_ev: float = T2_ENDPOINT_EV
    neutrino_mass_ev: float = 0.0
    final_states: str = "T2"
    background_fraction: float = 0.0
    below_window: bool = False
    table: str = ""
    energy_ev: tuple[float, float] = (18_500.0, 18_700.0)
    pitch_angle_deg: tuple[float, float] = (88.0, 90.0)
    radius_m: tuple[float, float] = (0.0, 6.5e-3)
    births: str = "minimum"
    source_temperature_k: float = 0.0
    source_mass_u: float = 0.0

    def __post_init__(self) -> None:
        _choice("ensemble.kind", self.kind, ENSEMBLE_KINDS)
        _choice("ensemble.births", self.births, BIRTHS)
        if not (self.source_temperature_k >= 0 and self.source_mass_u >= 0):
            raise UserError("ensemble.source_temperature_k and source_mass_u must be 0 (none) or positive")
        if self.source_temperature_k > 0 and self.kind not in SOURCE_MASS_U:
            raise UserError(
                f"ensemble.source_temperature_k widens the energies of a source, and ensemble.kind {self.kind} has "
                f"none: choose kind {' or '.join(SOURCE_MASS_U)}, or leave it out"
            )
        _interval("ensemble.energy_ev", self.energy_ev, 0.0, math.inf)
        if self.kind == "tritium" and self.endpoint_ev <= self.energy_ev[0]:
            raise UserError(
                f"ensemble.endpoint_ev {self.endpoint_ev:g} lies below the energies {self.energy_ev[0]:g} to "
                f"{self.energy_ev[1]:g} eV: no electron of the spectrum would be among them"
            )
        if self.kind == "tritium":
            FinalStates.of(self.final_states)  # refuses what is no table
        if self.kind == "krypton" and not lines_between(*self.energy_ev):
            known = ", ".join(f"{line.name} {line.energy_ev:.1f}" for line in LINES)
            raise UserError(
                f"ensemble.energy_ev {self.energy_ev[0]:g} to {self.energy_ev[1]:g} eV holds no line of 83mKr: {known}"
            )
        if (self.kind == "table") != bool(self.table):
            raise UserError("ensemble.table names the file of start values of ensemble.kind table: give both or none")
        if not 0 <= self.background_fraction <= 1:
            raise UserError(f"ensemble.background_fraction is {self.background_fraction:g}; it must lie in 0 to 1")
        _interval("ensemble.pitch_angle_deg", self.pitch_angle_deg, 0.0, 180.0)
        _interval("ensemble.radius_m", self.radius_m, 0.0, math.inf)


@dataclass(frozen=True)
class LossConfig:
    """Energy loss: what the cavity takes (self-consistent with the signal), the free-space power, or none.

    factor multiplies the power (a cavity's enhancement where `free_space` is chosen).
    """

    kind: str = "cavity"
    factor: float = 1.0

    def __post_init__(self) -> None:
        _choice("loss.kind", self.kind, LOSS_KINDS)


@dataclass(frozen=True)
class SimulationConfig:
    """The whole configuration; the defaults are the public 26 GHz cavity apparatus."""

    trap: TrapConfig = field(default_factory=TrapConfig)
    cavity: CavityConfig = field(default_factory=CavityConfig)
    readout: ReadoutConfig = field(default_factory=ReadoutConfig)
    ensemble: EnsembleConfig = field(default_factory=EnsembleConfig)
    loss: LossConfig = field(default_factory=LossConfig)
    scattering: ScatteringConfig = field(default_factory=ScatteringConfig)
    kinds: KindsConfig = field(default_factory=KindsConfig)
    more_channels: tuple[ChannelConfig, ...] = ()
    receiver: tuple[ReceiverTerm, ...] = ()
    seed: int = 0

    def __post_init__(self) -> None:
        self.make_receiver()
        for channel in self.more_channels:
            if channel.port >= max(len(self.cavity.ports), 1):
                raise UserError(
                    f"more_channels: a channel reads port {channel.port} and cavity.ports has "
                    f"{len(self.cavity.ports)}, counted from 0"
                )
        if self.ensemble.radius_m[1] > self.cavity.radius_m:
            raise UserError("ensemble.radius_m reaches beyond cavity.radius_m: choose electrons inside the cavity")
        if self.trap.kind == "map":
            gyration = float(gyroradius_m(self.ensemble.energy_ev[1], 90.0, self.trap.field_t))
            check_reach(self.trap.map, self.trap.field_map, self.ensemble.radius_m[1] + gyration)
        if self.scattering.start_s[1] >= self.readout.duration_s:
            raise UserError(
                f"scattering.start_s reaches to {self.scattering.start_s[1]:g} s and a record lasts "
                f"{self.readout.duration_s:g} s: let electrons be born within the record"
            )

        if self.kinds.scattered > 0 and not self.scattering.density_per_m3 > 0:
            raise UserError(
                "kinds.scattered asks for records with a scattering, and scattering.density_per_m3 is 0: give the gas "
                "a density, such as 3.4e18"
            )

    def make_receiver(self) -> RandomChain:
        """Return the receiver's effects; without any it changes nothing. Raises UserError for wrong ones."""
        cavity, readout = self.cavity, self.readout
        facts: dict[str, Any] = {
            "sampling_rate_hz": readout.sampling_rate_hz,
            "lo_frequency_hz": readout.lo_frequency_hz,
            "resistance_ohm": readout.resistance_ohm,
            "gain": readout.gain,
            "resonance_hz": cavity.resonance_hz,
            "loaded_q": cavity.loaded_q,
            "unloaded_q": cavity.unloaded_q,
            **({"modes": cavity.mode_rows()} if cavity.modes else {}),
        }
        return build_receiver(self.receiver, facts, [1.0, *(c.noise_scale for c in self.more_channels)])

    @classmethod
    def default(cls) -> SimulationConfig:
        """Return the default apparatus."""
        return cls()

    @classmethod
    def from_yaml(cls, path: str | Path, others: Mapping[str, Any] | None = None) -> SimulationConfig:
        """Read a configuration; keys that are left out take their defaults. Raises UserError.

        others: values in place of the file's, by their dotted keys.
        """
        path = Path(path)
        content = read_yaml(path)
        try:
            content = _with_others(content if content is not None else {}, others or {})
            config = cls.from_dict(_found(path.parent, content))
        except UserError as error:
            raise UserError(f"{path}: {error}") from error
        if config.ensemble.table:
            read_electron_table(config.ensemble.table)
        return config

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> SimulationConfig:
        """Build from nested mappings. Raises UserError for unknown keys and wrong types."""
        return build(cls, content, "the simulation configuration")

    def to_dict(self) -> dict[str, Any]:
        """Return nested plain types, from which `from_dict` makes an equal object."""
        content: dict[str, Any] = _plain(dataclasses.asdict(self))
        readout = self.readout
        if readout.noise_temperature_k is None:  # files say what their noise is, also where it is the default's
            noise = {"noise_density_w_per_hz": readout.density_w_per_hz}
        else:
            noise = {"noise_temperature_k": readout.noise_temperature_k}
        others = {name: value for name, value in content["readout"].items() if value is not None}
        content["readout"] = others | noise
        return content


def _with_others(content: Any, others: Mapping[str, Any]) -> Any:
    """Return the content with other values at dotted keys."""
    for key, value in others.items():
        section, _, below = key.partition(".")
        if not isinstance(content, dict) or (below and not isinstance(content.get(section, {}), dict)):
            raise UserError(f"the simulation configuration has no {key}: {section} is no table of keys and values")
        content = content | {section: _with_others(content.get(section, {}), {below: value}) if below else value}
    return content


def _found(folder: Path, content: Any) -> Any:
    """Return the content with absolute paths of files (map, table, final states) that lie here, or beside the YAML."""
    if not isinstance(content, dict):
        return content
    for section, key in (("trap", "map"), ("ensemble", "table"), ("ensemble", "final_states")):
        values = content.get(section)
        if isinstance(values, dict) and isinstance(values.get(key), str) and values[key]:
            for file in (Path(values[key]), folder / values[key]):
                if file.is_file():
                    content = content | {section: values | {key: str(file.resolve())}}
                    break
    return content


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value


def _choice(name: str, value: str, known: tuple[str, ...]) -> None:
    if value not in known:
        raise UserError(f"{name} is {value!r}{nearest(value, known)}: choose one of {', '.join(known)}")


def _positive(name: str, value: int | float) -> None:
    if not value > 0:
        raise UserError(f"{name} must be positive, not {value!r}")


def _interval(name: str, value: tuple[float, float], lowest: float, highest: float) -> None:
    if not lowest <= value[0] <= value[1] <= highest:
        raise UserError(f"{name} must be two rising values between {lowest} and {highest}, not {list(value)}")
