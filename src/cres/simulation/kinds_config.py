"""The section of the configuration on what a record holds: nothing, one electron, two, or one that scatters."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from enum import IntEnum

from cres.errors import UserError


class Kind(IntEnum):
    """What a record holds: column `record_kind`."""

    NONE = 0
    ONE = 1
    TWO = 2
    SCATTERED = 3


@dataclass(frozen=True)
class KindsConfig:
    """How often records are of each kind, in any unit; one electron in each by default.

    none: no electron. one: one, from the first sample to the last. two: two of the ensemble at once. scattered: one
    whose first track ends within the record, by the gas of the section scattering, which the other kinds do not feel;
    afterwards the trap still holds it, or does not.
    """

    none: float = 0.0
    one: float = 1.0
    two: float = 0.0
    scattered: float = 0.0

    def __post_init__(self) -> None:
        for field in fields(self):
            share = getattr(self, field.name)
            if not (math.isfinite(share) and share >= 0):
                raise UserError(f"kinds.{field.name} must be a share, 0 or more, not {share!r}")
        if not any(self.shares):
            raise UserError("kinds has no record of any kind: give at least one of none, one, two, scattered a share")

    @property
    def shares(self) -> tuple[float, ...]:
        """Of all records, in the order of `Kind`."""
        given = (self.none, self.one, self.two, self.scattered)
        total = sum(given) or 1.0
        return tuple(share / total for share in given)

    @property
    def active(self) -> bool:
        """Whether a record may be of another kind than one electron."""
        return any((self.none, self.two, self.scattered))
