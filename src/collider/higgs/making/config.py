"""A search for charged Higgs bosons as data: mass points with what they are for, channels, folds, processes."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Final

from collider.generation import Clustering, Cuts, Detector, GenerationConfig, Leptons, Process, Selection
from collider.generation.config import built, config_path, worded
from collider.higgs.making.processes import (
    BACKGROUNDS,
    DIBOSON,
    TOP_PAIR_PB,
    background_processes,
    sample_name,
    signal_process,
    trilepton_cuts,
)
from reconstruction.errors import UserError, nearest
from reconstruction.ranges import SEED
from reconstruction.yaml_files import read_yaml

TRAINED, EDGE = "trained", "edge"
ROLES: Final = (TRAINED, EDGE, "interpolated", "extrapolated", "validation", "map")
"""What a mass point is for. validation: held out as the interpolated ones are; map: few events, for a picture."""
Point = tuple[float, float]
"""m(H±) and m(A) in GeV."""
LOOSE: Final = Leptons(isolation=0.6, cone=0.2)
"""Leptons that are taken loosely, their isolation for the network to judge: with 0.15 within 0.3 less than one of ten
thousand pairs of top quarks with two leptons has a third one that is isolated."""
FB_PER_PB: Final = 1000.0


@dataclass(frozen=True)
class HiggsConfig:
    """Samples of a search.

    points: m(H±), m(A) in GeV by what they are for; events: of roles that have another number than the others. prior:
    roles from whose points backgrounds draw masses, each point alike: those that a network is trained on. channels: of
    the selection. folds: parts of equal size for cross-validation. luminosity_fb: for which `weight` counts events.
    branching_ratio: of t → H± b, H± → W A and A → μμ together, for which the signal is weighted. backgrounds:
    processes in place of ours, by name (nonprompt, diboson, ttx), such as events of another generator (lhe_file).
    weigh_b_tags: samples whose events all get a b tag, its probability in their weights: few events of WZ have one.
    """

    points: Mapping[str, tuple[Point, ...]]
    events: Mapping[str, int] = field(default_factory=dict)
    prior: tuple[str, ...] = (TRAINED, EDGE)
    channels: tuple[str, ...] = ("1e2mu", "3mu")
    folds: int = 5
    luminosity_fb: float = 138.0
    branching_ratio: float = 1e-5
    underlying_event: bool = True
    backgrounds: Mapping[str, Process] = field(default_factory=dict)
    detector: Detector = field(default_factory=Detector)
    leptons: Leptons = LOOSE
    jets: Clustering = field(default_factory=Clustering)
    selection: Mapping[str, Cuts] = field(default_factory=trilepton_cuts)
    most_objects: int = 14
    weigh_b_tags: tuple[str, ...] = (DIBOSON,)
    seed: int = 1

    def __post_init__(self) -> None:
        for what, names, known in (
            ("points", self.points, ROLES),
            ("events", self.events, self.points),
            ("prior", self.prior, ROLES),
            ("channels", self.channels, self.selection),
            ("backgrounds", self.backgrounds, BACKGROUNDS),
            ("weigh_b_tags", self.weigh_b_tags, BACKGROUNDS),
        ):
            _require_known(what, names, known)
        if not self.prior_points:
            raise UserError(
                f"no mass point is {' or '.join(self.prior) or TRAINED}: backgrounds draw masses from those"
            )
        if not self.channels or len(set(self.channels)) < len(self.channels):
            raise UserError(
                f"channels must be some of {', '.join(self.selection)}, each once, not {list(self.channels)}"
            )
        if not 1 <= self.folds <= 100:
            raise UserError(f"folds must be from 1 to 100, not {self.folds!r}")
        if self.seed not in SEED:
            raise UserError(f"seed must be {SEED}, not {self.seed!r}")
        if not 0 < self.luminosity_fb < math.inf or not 0 < self.branching_ratio < 1:
            raise UserError(
                "luminosity_fb must be more than 0 and finite, and branching_ratio between 0 and 1, not "
                f"{self.luminosity_fb!r} and {self.branching_ratio!r}"
            )
        wrong = next((role for role, events in self.events.items() if events < 1), None)
        if wrong is not None:
            raise UserError(f"events of {wrong} points must be 1 or more, not {self.events[wrong]!r}")
        self._require_points_once()
        for point in self.role_of:
            self.signal(point)

    def _require_points_once(self) -> None:
        names = [sample_name(*point) for points in self.points.values() for point in points]
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice is not None:
            raise UserError(f"the mass point {twice.replace('_', ' ')} stands twice in points")

    @cached_property
    def role_of(self) -> dict[Point, str]:
        """What each mass point is for, in the order of the configuration."""
        return {point: role for role, points in self.points.items() for point in points}

    @property
    def prior_points(self) -> tuple[Point, ...]:
        """Points from which backgrounds draw their masses."""
        return tuple(point for role in self.prior for point in self.points.get(role, ()))

    def signal(self, point: Point) -> Process:
        """Return the signal's process at a point."""
        # either top quark may be the one that decays to H±
        cross_section_pb = 2 * TOP_PAIR_PB * self.branching_ratio
        return signal_process(*point, cross_section_pb, self.underlying_event)

    def processes(self) -> dict[str, Process]:
        """Return the processes of backgrounds by name."""
        given = {name: dataclasses.replace(process, name=name) for name, process in self.backgrounds.items()}
        return background_processes(self.underlying_event) | given

    def generation(self, process: Process) -> GenerationConfig:
        """Return what generates a sample of a process."""
        chosen = Selection({name: self.selection[name] for name in self.channels})
        weighed = process.name in self.weigh_b_tags
        return GenerationConfig(
            process, self.detector, self.leptons, self.jets, chosen, self.most_objects, weighed, self.seed
        )

    @classmethod
    def from_yaml(cls, path: Path) -> HiggsConfig:
        """Read a configuration. Raises UserError, with file and key, for what it cannot mean."""
        given = read_yaml(path)
        if not isinstance(given, dict) or "points" not in given:
            raise UserError(f"{path}: a search names its mass points: {{points: {{trained: [[130, 90], …]}}}}")
        return built(cls, worded(given), "the configuration", path)


def _require_known(what: str, names: Any, known: Any) -> None:
    """Raise UserError for a name that is none of those that are known."""
    wrong = next((name for name in names if name not in known), None)
    if wrong is not None:
        raise UserError(f"{what} of a search: there is no {wrong!r}{nearest(str(wrong), known)}; {_listed(known)}")


def _listed(known: Any) -> str:
    return f"known are {', '.join(known)}" if known else "none are known"


def search_path(wanted: str) -> Path:
    """Return the file of a set of mass points: a path, or the name of one of ours. Trainings lie beside these."""
    return config_path(wanted, "higgs", "set of mass points", lambda text: "\npoints:" in f"\n{text}")
