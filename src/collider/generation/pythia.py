"""Pythia 8 (Bierlich et al., SciPost Phys. Codebases 8 (2022), arXiv:2203.11601): a process in, events out."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from collider.generation.events import BEAM, BETWEEN, FIELDS, FINAL, events_of
from collider.generation.processes import Process
from collider.generation.wheels import wheel
from reconstruction.errors import UserError

BATCH: Final = 200
"""Events that are copied out of Pythia together: some tens of megabytes."""
LARGEST_SEED: Final = 900_000_000
PB_PER_MB: Final = 1e9
FUTILE_TRIES: Final = 200_000
"""So many hard processes of which none passes are a filter that passes none."""
SILENT: Final = ("Print:quiet = on", "Print:verbosity = 0", "Next:numberCount = 0")
INCOMING: Final = -12
"""Pythia's status code of an incoming beam."""


def keyed_seed(seed: int, *words: object) -> int:
    """Return a seed from 1 to 900 million that these words alone decide, as Pythia takes them."""
    text = "/".join(map(str, (seed, *words)))
    return 1 + int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little") % (LARGEST_SEED - 1)


class EventGenerator:
    """Generates the events of one process: the same seed, the same events, in batches of the same size."""

    def __init__(self, process: Process, seed: int) -> None:
        """Begin. Raises UserError where Pythia is missing, knows no such setting, or cannot begin."""
        self.process = process
        self._veto: Any = None
        if process.lhe_file and not Path(process.lhe_file).is_file():
            raise UserError(f"{process.lhe_file} of process {process.name} cannot be read: there is no such file")
        # no folder of its data is given: the wheel finds them beside itself
        self._pythia = wheel("pythia8mc").Pythia("", False)
        for command in (*SILENT, "Random:setSeed = on", f"Random:seed = {seed}", *process.commands()):
            self._tell(command)
        if process.filter.hard:
            self._veto = _veto(process, self._pythia)
            self._pythia.setUserHooksPtr(self._veto)
        if not self._pythia.init():
            raise UserError(
                f"Pythia 8 cannot begin with process {process.name}: its channels may be closed, or its beams and "
                "energy allow none; settings: {'Print:quiet': 'off', 'Print:verbosity': '3'} lets it say why"
            )
        self._turns = process.turns()
        self._batches = 0

    def _tell(self, command: str) -> None:
        if not self._pythia.readString(command, False):
            raise UserError(f"Pythia 8 does not know `{command}` (process {self.process.name})")

    def batch(self, events: int = BATCH) -> Any:
        """Return the next events that pass `process.filter.hard`: fewer, or none, where a file of events ends.

        They are as `events_of` makes them; `generated` and `generated_weight` count what the filter dropped before
        each. Raises UserError where Pythia gives up.
        """
        for command in self._turns[self._batches % len(self._turns)] if self._turns else ():
            self._pythia.particleData.readString(command, False)
        self._batches += 1
        made = self._pythia.nextBatch(events)
        if self._veto is not None and self._veto.futile:
            raise UserError(f"none of {FUTILE_TRIES} events of process {self.process.name} passes its filter.hard")
        if len(made) < events and not self.process.lhe_file:
            raise UserError(f"Pythia 8 gave up after {len(made)} of {events} events of process {self.process.name}")
        return _events(made, None if self._veto is None else self._veto.since(len(made)))

    @property
    def cross_section_pb(self) -> float:
        """That of all events before the filter: the process's own, else Pythia's estimate from the events so far.

        Pythia's is times `k_factor`, and counts the branching ratios of the decays that were chosen.
        """
        given = self.process.cross_section_pb
        if given is not None:
            return given
        passed = 1.0 if self._veto is None else self._veto.share
        return float(self._pythia.infoPython().sigmaGen()) * PB_PER_MB * self.process.k_factor / passed


Tries = tuple[NDArray[np.int64], NDArray[np.float64]]
"""How many events were tried for each that passed, and the sum of their weights: (event,)."""


def _veto(process: Process, pythia: Any) -> Any:
    """Return what Pythia asks after each hard process, whether it is worth a shower; it counts what it is asked."""

    class Veto(wheel("pythia8mc").UserHooks):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.asked, self.passed, self.futile = 0, 0, False
            self._tries: list[tuple[int, float]] = []
            self._count, self._weight = 0, 0.0

        def canVetoProcessLevel(self) -> bool:
            return True

        def doVetoProcessLevel(self, record: Any) -> bool:
            if self.futile:
                return False
            self.asked += 1
            self._count += 1
            self._weight += float(pythia.infoPython().weight())
            if not process.filter.passes_hard(record):
                self.futile = self._count >= FUTILE_TRIES  # Pythia itself would go on for ever
                return not self.futile
            self.passed += 1
            self._tries.append((self._count, self._weight))
            self._count, self._weight = 0, 0.0
            return False

        @property
        def share(self) -> float:
            """Share of the events that passed so far."""
            return self.passed / self.asked if self.passed else 1.0

        def since(self, events: int) -> Tries:
            """Return the tries of the events since the last call; those of one that Pythia lost go to the last."""
            counts = np.array([count for count, _ in self._tries], dtype=np.int64)
            weights = np.array([weight for _, weight in self._tries], dtype=np.float64)
            self._tries = []
            starts = np.arange(events)  # the last one takes all that are left
            return np.add.reduceat(counts, starts), np.add.reduceat(weights, starts)

    return Veto()


def _events(made: Any, tries: Tries | None = None) -> Any:
    """Return events of Pythia's batch, without its first entry, which stands for the whole event."""
    ak = wheel("awkward")
    if not len(made):
        return events_of([], {name: np.zeros(0) for name in FIELDS}, [])
    # there is no entry at all where only the hard process is asked for
    counts = np.maximum(ak.num(made.prt).to_numpy() - 1, 0)
    return events_of(counts, _columns(made.prt[:, 1:]), ak.firsts(made.info.weights, axis=1).to_numpy(), tries)


def _columns(particles: Any) -> dict[str, Any]:
    ak = wheel("awkward")
    flat = ak.flatten(particles)
    status = flat.status.to_numpy()
    return {
        "pdg_id": flat.id.to_numpy(),
        "status": np.where(status > 0, FINAL, np.where(status == INCOMING, BEAM, BETWEEN)),
        "mother": flat.mother1.to_numpy() - 1,
        "mass": flat.m.to_numpy(),
        **{name: flat.p[key].to_numpy() for name, key in _MOMENTA.items()},
        **{name: ak.fill_none(flat.vProd[key], 0.0).to_numpy() for name, key in _VERTEX.items()},
    }


_MOMENTA: Final = {"px": "px", "py": "py", "pz": "pz", "energy": "e"}
_VERTEX: Final = {"x_mm": "px", "y_mm": "py", "z_mm": "pz"}
