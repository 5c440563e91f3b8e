"""The sections of the configuration on what happens to a track: scattering on the gas, the start within the record."""

from __future__ import annotations

from dataclasses import dataclass, field

from cres.errors import UserError
from cres.physics.gas import INELASTIC_CROSS_SECTION_M2
from cres.physics.gases import GasMixture, check_fractions


@dataclass(frozen=True)
class ScatteringConfig:
    """Scattering on gas, and when the electron is born. Both are off by default.

    density_per_m3: molecules and atoms; 0 is no scattering. gases: fractions of them by number, of the names in
    `cres.physics.gases` (T2, HT, DT, T, H, He3, Kr …); molecular tritium alone where it is empty.
    inelastic_cross_section_m2: of molecular tritium at 18.6 keV. elastic: whether electrons scatter elastically too.
    start_s: the electron is born at a time uniform between the two, counted from the record's first sample.
    maximum_tracks: an event ends with this many. within_record: the first track ends within the record, its length
    drawn on that condition.
    """

    density_per_m3: float = 0.0
    gases: dict[str, float] = field(default_factory=dict, hash=False)
    inelastic_cross_section_m2: float = INELASTIC_CROSS_SECTION_M2
    elastic: bool = True
    start_s: tuple[float, float] = (0.0, 0.0)
    maximum_tracks: int = 8
    within_record: bool = False

    def __post_init__(self) -> None:
        if not self.density_per_m3 >= 0:
            raise UserError(f"scattering.density_per_m3 must be 0 (none) or more, not {self.density_per_m3!r}")
        check_fractions(self.gases, "scattering.gases")
        if not self.inelastic_cross_section_m2 > 0:
            raise UserError(
                f"scattering.inelastic_cross_section_m2 must be positive, not {self.inelastic_cross_section_m2!r}"
            )
        if not 0 <= self.start_s[0] <= self.start_s[1]:
            raise UserError(f"scattering.start_s must be two rising times from 0 on, not {list(self.start_s)}")
        if self.within_record and self.density_per_m3 == 0:
            raise UserError(
                "scattering.within_record lets every electron scatter, and scattering.density_per_m3 is 0: give the "
                "gas a density, or leave it out"
            )
        if not 1 <= self.maximum_tracks <= 1000:
            raise UserError(f"scattering.maximum_tracks must lie in 1 to 1000, not {self.maximum_tracks}")

    @property
    def mixture(self) -> GasMixture:
        """What electrons scatter on."""
        fractions = tuple(self.gases.items()) or (("T2", 1.0),)
        return GasMixture(fractions, self.inelastic_cross_section_m2, self.elastic)

    @property
    def active(self) -> bool:
        """Whether a record may be anything but one track from its first sample to its last."""
        return self.density_per_m3 > 0 or self.start_s != (0.0, 0.0)
