"""How tracks are sought, as data."""

from __future__ import annotations

from dataclasses import dataclass, fields

from collider.detectors.tracking.geometry import FEWEST_LAYERS, Tracker, require
from reconstruction.errors import UserError
from reconstruction.ranges import NOT_NEGATIVE, POSITIVE, SHARE, SIZE, Allowed

Triplet = tuple[int, int, int]


@dataclass(frozen=True)
class SeedPass:
    """One search: triplets of layers (from 0, inside to outside) that begin tracks, and how far those miss the axis."""

    layers: tuple[Triplet, ...]
    largest_d0_mm: float

    def __post_init__(self) -> None:
        require("a pass of seeds", [("largest_d0_mm", self.largest_d0_mm, POSITIVE)])
        wrong = next((triplet for triplet in self.layers if not 0 <= triplet[0] < triplet[1] < triplet[2]), None)
        if wrong is not None or not self.layers:
            raise UserError(f"layers of a pass of seeds must be triplets of layers that rise, not {wrong or []}")


PASSES = (
    SeedPass(((0, 1, 2),), 3.0),
    SeedPass(((0, 1, 3), (0, 2, 3), (1, 2, 3)), 3.0),
    SeedPass(((0, 1, 2), (1, 2, 3)), 20.0),
)
"""All hits; then what the first search left, where one of four hits is missing; then decays far from the axis."""


@dataclass(frozen=True)
class Finding:
    """Cuts of the search.

    lowest_pt_gev: of seeds. largest_z0_mm: of seeds, where they pass the axis. largest_chi2: of a hit beside what the
    filter expects (two degrees of freedom); of a seed (one): largest_seed_chi2. branches: candidates that are
    followed of each seed. holes: layers in which a track may lack its hit before it ends. fewest_hits: of a track.
    hit_worth: χ² that a hit more may cost when candidates are compared. shared: largest share of a track's hits that
    better tracks use, too. largest_chi2_per_ndf: of a fitted track.
    """

    passes: tuple[SeedPass, ...] = PASSES
    lowest_pt_gev: float = 0.4
    largest_z0_mm: float = 200.0
    largest_chi2: float = 20.0
    largest_seed_chi2: float = 16.0
    branches: int = 3
    holes: int = 2
    fewest_hits: int = 5
    hit_worth: float = 12.0
    shared: float = 0.3
    largest_chi2_per_ndf: float = 5.0

    def __post_init__(self) -> None:
        kinds: dict[str, Allowed] = {"shared": SHARE, "holes": Allowed(0, 100), "branches": Allowed(1, 100)}
        kinds |= {"fewest_hits": Allowed(FEWEST_LAYERS, SIZE.high)}
        numbers = [part.name for part in fields(self) if part.name not in ("passes", *kinds)]
        kinds |= dict.fromkeys(numbers, POSITIVE) | {"hit_worth": NOT_NEGATIVE}
        require("the search for tracks", [(name, getattr(self, name), allowed) for name, allowed in kinds.items()])
        if not self.passes:
            raise UserError("passes of the search for tracks must be one or more")

    def check(self, tracker: Tracker) -> None:
        """Raise UserError where a pass names a layer that a tracker does not have."""
        last = max(triplet[2] for search in self.passes for triplet in search.layers)
        if last >= len(tracker.layers):
            raise UserError(
                f"a pass of seeds names layer {last}, but the tracker has layers 0 to {len(tracker.layers) - 1}"
            )
