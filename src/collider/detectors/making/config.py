"""What a set of events is: processes and their shares, the particles that are followed, the detectors; from YAML."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from collider.detectors.calorimeters.clusters import Topology
from collider.detectors.calorimeters.config import Calorimeters, require_between
from collider.detectors.muons.config import MuonStations
from collider.detectors.schema import TABLES
from collider.detectors.tracking import Finding, Tracker
from collider.generation import Process
from collider.generation.config import built, worded
from reconstruction.errors import UserError, nearest
from reconstruction.ranges import SEED
from reconstruction.yaml_files import read_yaml

DECAYS: Final = {
    "ParticleDecays:limitCylinder": "on",
    "ParticleDecays:xyMax": "1000",
    "ParticleDecays:zMax": "2500",
}
"""What lives longer than to 1 m from the beam, or 2.5 m along it, meets the calorimeters as it is."""


@dataclass(frozen=True)
class DetectorSample:
    """Events of several processes, seen by four detectors.

    processes: as in generation; share: of the events, by name, all alike where it is empty; particles that are followed
    have `least_pt_gev` and are within `largest_eta`. The tracker's field is that of the solenoid, which ends at the
    coil. tables: which of them files hold.
    """

    processes: tuple[Process, ...]
    share: Mapping[str, float] = field(default_factory=dict)
    least_pt_gev: float = 0.2
    largest_eta: float = 3.2
    tracker: Tracker = field(default_factory=Tracker)
    finding: Finding = field(default_factory=Finding)
    calorimeters: Calorimeters = field(default_factory=Calorimeters)
    clusters: Topology = field(default_factory=Topology)
    muons: MuonStations = field(default_factory=MuonStations)
    tables: tuple[str, ...] = tuple(TABLES)
    seed: int = 1

    def __post_init__(self) -> None:
        names = self.names
        if not names or len(set(names)) < len(names):
            raise UserError(f"processes have one name each, and there is at least one, not {names}")
        for name, value in self.share.items():
            if name not in names:
                raise UserError(
                    f"share names the process {name!r}, which is not there{nearest(name, names)}: there are "
                    f"{', '.join(names)}"
                )
            if not (isinstance(value, int | float) and 0 <= value < math.inf):
                raise UserError(f"share.{name} must be 0 or more, not {value!r}")
        if not sum(self.shares.values()) > 0:
            raise UserError("the shares of all processes are 0: give one of them more")
        require_between("the sample", {"least_pt_gev": self.least_pt_gev}, 0.01, 100)
        require_between("the sample", {"largest_eta": self.largest_eta}, 0.1, 10)
        for name in self.tables:
            if name not in TABLES:
                raise UserError(f"there is no table {name!r}{nearest(name, TABLES)}: there are {', '.join(TABLES)}")
        if not self.tables or len(set(self.tables)) < len(self.tables):
            raise UserError(f"tables are named once each, and at least one, not {list(self.tables)}")
        self.finding.check(self.tracker)
        if self.tracker.radii_mm[-1] >= self.calorimeters.ecal.radius_mm:
            raise UserError(
                f"the tracker's last layer, at {self.tracker.radii_mm[-1]:g} mm, must be before the front of the ECAL "
                f"at {self.calorimeters.ecal.radius_mm:g} mm"
            )
        self._require_around()
        if self.seed not in SEED:
            raise UserError(f"seed must be {SEED}, not {self.seed!r}")

    def _require_around(self) -> None:
        """Raise UserError where the tracker is longer than the ECAL's front, or the coil not behind the HCAL."""
        ecal, hcal = self.calorimeters.ecal, self.calorimeters.hcal
        longest = self.tracker.half_lengths_mm.max()
        if longest >= ecal.half_length_mm:
            raise UserError(
                f"half_length_mm of the tracker's layers must be less than the ECAL's {ecal.half_length_mm:g} mm, "
                f"not {longest:g}"
            )
        for name in ("radius_mm", "half_length_mm"):
            coil, behind = getattr(self.muons, f"coil_{name}"), getattr(hcal, name) + 10 * hcal.depth_cm
            if coil < behind:
                raise UserError(f"muons.coil_{name} must be {behind:g} mm or more, behind the HCAL, not {coil:g}")

    @property
    def names(self) -> list[str]:
        """Names of the processes."""
        return [process.name for process in self.processes]

    @property
    def shares(self) -> dict[str, float]:
        """Share of each process, in any unit; 0 for those that `share` leaves out, all 1 where it is empty."""
        return {name: self.share.get(name, 0.0) if self.share else 1.0 for name in self.names}

    def counts(self, events: int) -> dict[str, int]:
        """Return how many of so many events are of each process: what does not divide goes to the first ones."""
        shares = self.shares
        exact = {name: events * share / sum(shares.values()) for name, share in shares.items()}
        counts = {name: math.floor(value) for name, value in exact.items()}
        by_rest = sorted(exact, key=lambda name: counts[name] - exact[name])
        for name in by_rest[: events - sum(counts.values())]:
            counts[name] += 1
        return counts

    def pythia(self, process: Process) -> Process:
        """Return a process with decays that end where the calorimeters are."""
        return dataclasses.replace(process, settings={**DECAYS, **process.settings})

    def to_dict(self) -> dict[str, Any]:
        """Return all values, as they are written into files."""
        return dataclasses.asdict(self)

    def detector_dict(self) -> dict[str, Any]:
        """Return what all processes of a set have in common."""
        return {name: value for name, value in self.to_dict().items() if name not in ("processes", "share")}

    @classmethod
    def from_yaml(cls, path: Path) -> DetectorSample:
        """Read a configuration. Raises UserError, with file and key, for what it cannot mean."""
        given = read_yaml(path)
        if not isinstance(given, dict) or not given.get("processes"):
            raise UserError(f"{path}: the configuration of events names its processes: [{{name: …, subprocesses: …}}]")
        return built(cls, worded(given), "the configuration of events", path)
