"""What a sample is: a process, a detector, what is an object, which events are kept; typed, from YAML."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, TypeVar

from collider.generation.jets import Clustering
from collider.generation.objects import Leptons
from collider.generation.processes import Process
from collider.generation.selection import Selection
from collider.generation.smearing import Detector
from reconstruction.configuration import build
from reconstruction.errors import UserError, nearest
from reconstruction.ranges import SEED
from reconstruction.yaml_files import read_yaml

WORDS: Final = {"products", "only", "only_particle", "only_antiparticle", "kinds"}
"""Keys of lists of particles: names, or PDG codes, which YAML reads as numbers."""
Built = TypeVar("Built")
_PACKAGE: Final = Path(__file__).parents[1]


@dataclass(frozen=True)
class GenerationConfig:
    """A sample of one process. most_objects: of an event that are written; softer jets are left out.

    weigh_b_tags: where every channel asks for a b jet and few events have one, each event gets one or more tags, and
    its weight the probability of that: the same distributions from many more events.
    """

    process: Process
    detector: Detector = field(default_factory=Detector)
    leptons: Leptons = field(default_factory=Leptons)
    jets: Clustering = field(default_factory=Clustering)
    selection: Selection = field(default_factory=Selection)
    most_objects: int = 14
    weigh_b_tags: bool = False
    seed: int = 1

    def __post_init__(self) -> None:
        if not 1 <= self.most_objects <= 1000:
            raise UserError(f"most_objects must be from 1 to 1000, not {self.most_objects!r}")
        channels = self.selection.channels
        if self.weigh_b_tags and not (channels and all(cuts.b_jets.at_least for cuts in channels.values())):
            raise UserError("weigh_b_tags gives every event a tag: each channel of the selection must ask for b_jets")
        if self.seed not in SEED:
            raise UserError(f"seed must be {SEED}, not {self.seed!r}")

    @classmethod
    def from_yaml(cls, path: Path) -> GenerationConfig:
        """Read a configuration. Raises UserError, with file and key, for what it cannot mean."""
        given = read_yaml(path)
        if not isinstance(given, dict) or "process" not in given:
            raise UserError(f"{path}: the configuration of a sample names its process: {{name: …, subprocesses: […]}}")
        return built(cls, worded(given), "the configuration", path)

    def to_dict(self) -> dict[str, Any]:
        """Return all values, as they are written into files."""
        return dataclasses.asdict(self)


def worded(value: Any, key: str = "") -> Any:
    """Return a configuration with the numbers and switches as words that Pythia reads: PDG codes and settings."""
    if isinstance(value, dict):
        return {name: _word(item) if key == "settings" else worded(item, str(name)) for name, item in value.items()}
    if isinstance(value, list):
        return [_word(item) if key in WORDS else worded(item) for item in value]
    return value


def _word(value: Any) -> Any:
    if isinstance(value, bool):  # YAML reads on and off as what they mean
        return "on" if value else "off"
    return str(value) if isinstance(value, int | float) else value


def built(cls: type[Built], given: Any, what: str, path: Path) -> Built:
    """Return what a file says, typed; what: its name in sentences. Raises UserError, with file and key."""
    try:
        return build(cls, given, what)
    except UserError as error:
        raise UserError(f"{path}: {error}") from error
    except TypeError as error:
        raise UserError(f"{path}: {_lacking(error)}") from error


def _lacking(error: TypeError) -> str:
    """Return in words which keys a part of a configuration lacks, from what Python says of its arguments."""
    what, _, names = str(error).partition(" missing ")
    return f"{what.removesuffix('.__init__()')} lacks {names.partition(': ')[2] or names}"


def configs_folder(part: str = "generation") -> Path:
    """Return the folder of our configurations of a part: that of the checkout, or the copy that a wheel brings."""
    checkout = _PACKAGE.parents[1] / "configs" / part
    return checkout if checkout.is_dir() else _PACKAGE / "configs" / part


def config_path(
    wanted: str, part: str = "generation", noun: str = "process", holds: Callable[[str], bool] = lambda text: True
) -> Path:
    """Return the file of a configuration: a path, or the name of one of ours. Raises UserError with the nearest one.

    noun: what it is. holds: whether a text of the part's folder is one, beside which others may lie.
    """
    given = Path(wanted)
    if given.suffix in (".yaml", ".yml") or given.is_file():
        return given
    known = [path.stem for path in sorted(configs_folder(part).glob("*.yaml")) if holds(path.read_text())]
    if wanted not in known:
        raise UserError(f"there is no {noun} {wanted!r}{nearest(wanted, known)}; ours are {', '.join(known)}")
    return configs_folder(part) / f"{wanted}.yaml"
