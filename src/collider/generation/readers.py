"""Events of the user's own generators: HepMC files (through pyhepmc) and Les Houches event files.

They become the events that our generator makes (`events_of`). A Les Houches file holds partons before the shower: name
it as `lhe_file` of a process, and Pythia showers it; read here, it is what it is.
"""

from __future__ import annotations

import gzip
import io
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import numpy as np

from collider.generation.events import BEAM, BETWEEN, FIELDS, FINAL, events_of
from collider.generation.wheels import wheel
from reconstruction.errors import UserError, one_line

BATCH_EVENTS: Final = 200
GZIP: Final = b"\x1f\x8b"
DAMAGED: Final = (OSError, EOFError, zlib.error)
"""What reading a file raises where it breaks off, or where its compressed bytes are not those that were written."""
LHE_NUMBERS: Final = 13
"""Numbers of a particle's line: IDUP ISTUP MOTHUP(2) ICOLUP(2) PUP(5) VTIMUP SPINUP (hep-ph/0609017)."""
GEV: Final = {"GEV": 1.0, "MEV": 1e-3}
MM: Final = {"MM": 1.0, "CM": 10.0}


def read_events(path: Path, batch: int = BATCH_EVENTS) -> Iterator[Any]:
    """Yield the events of a file in batches. Raises UserError, with the place, for what is no such file."""
    return read_lhe(path, batch) if _is_lhe(path) else read_hepmc(path, batch)


def _opened(path: Path) -> io.BufferedIOBase:
    try:
        with path.open("rb") as stream:
            start = stream.read(len(GZIP))
        if start == GZIP:
            return gzip.open(path)
        return path.open("rb")
    except OSError as error:
        why = "there is no such file" if isinstance(error, FileNotFoundError) else error.strerror
        raise UserError(f"{path} cannot be read: {why}") from error


def _is_lhe(path: Path) -> bool:
    try:
        with _opened(path) as stream:
            return b"<LesHouchesEvents" in stream.read(4096)
    except DAMAGED as error:
        raise UserError(f"{path} cannot be read: it is damaged ({error})") from error


def read_hepmc(path: Path, batch: int = BATCH_EVENTS) -> Iterator[Any]:
    """Yield the events of a HepMC file (versions 2 and 3, gzipped or not) in batches, in GeV and mm.

    Raises UserError where the file is none, is damaged, or breaks off.
    """
    pyhepmc = wheel("pyhepmc")
    listed, whole = _listed(path)
    read = 0
    rows: list[tuple[dict[str, Any], float]] = []
    try:
        with pyhepmc.open(str(path)) as file:
            for event in file:
                rows.append(_of_hepmc(event))
                read += 1
                if len(rows) == batch:
                    yield _joined(rows)
                    rows = []
    except UserError:
        raise
    except (*DAMAGED, RuntimeError, ValueError) as error:
        why = one_line(error)
        raise UserError(f"{path} cannot be read as HepMC after {read} events ({why})") from error
    # the library stops without a word where it understands no more
    if not listed:
        raise UserError(f"{path} holds no events: it is no HepMC file, or an empty one")
    if read < listed or not whole:
        raise UserError(f"{path} is damaged: {read} of its {listed} events can be read; write it again")
    if rows:
        yield _joined(rows)


def _listed(path: Path) -> tuple[int, bool]:
    """Return how many events a HepMC file lists, and whether it comes to its end."""
    events, end = 0, False
    try:
        with _opened(path) as stream:
            for line in stream:
                events += line.startswith(b"E ")
                end = (b"-END_EVENT_LISTING" in line) or (end and not line.strip())
    except DAMAGED as error:
        raise UserError(f"{path} is damaged after {events} events ({one_line(error)}): write it again") from error
    return events, end


def _of_hepmc(event: Any) -> tuple[dict[str, Any], float]:
    """Return the columns of one event's particles, and its weight (the first, 1 where there is none)."""
    particles, vertices = event.numpy.particles, event.numpy.vertices
    gev, mm = GEV[event.momentum_unit.name], MM[event.length_unit.name]
    mother = np.full(len(particles.id), -1)
    place = np.zeros((len(particles.id), 3))
    origins = {
        vertex.id: (vertex.particles_in[0].id - 1, i) for i, vertex in enumerate(event.vertices) if vertex.particles_in
    }
    positions = np.stack([np.asarray(vertices.x), np.asarray(vertices.y), np.asarray(vertices.z)], axis=1) * mm
    for i, particle in enumerate(event.particles):
        origin = particle.production_vertex
        if origin is not None and origin.id in origins:
            mother[i], row = origins[origin.id]
            place[i] = positions[row]
    status = np.asarray(particles.status)
    columns = {
        "pdg_id": np.asarray(particles.pid),
        "status": np.where(status == 1, FINAL, np.where(mother < 0, BEAM, BETWEEN)),
        "mother": mother,
        **{name: np.asarray(getattr(particles, key)) * gev for name, key in _HEPMC.items()},
        **dict(zip(("x_mm", "y_mm", "z_mm"), place.T, strict=True)),
    }
    return columns, float(event.weights[0]) if len(event.weights) else 1.0


_HEPMC: Final = {"px": "px", "py": "py", "pz": "pz", "energy": "e", "mass": "generated_mass"}


def _joined(rows: list[tuple[dict[str, Any], float]]) -> Any:
    columns = {name: np.concatenate([row[name] for row, _ in rows]) for name in FIELDS}
    return events_of([len(row["pdg_id"]) for row, _ in rows], columns, [weight for _, weight in rows])


def read_lhe(path: Path, batch: int = BATCH_EVENTS) -> Iterator[Any]:
    """Yield the partons of a Les Houches event file (gzipped or not) in batches.

    Raises UserError, with the line, for an event that is cut or holds what are no numbers.
    """
    rows: list[tuple[dict[str, Any], float]] = []
    read = 0
    for line, text in _lhe_blocks(path):
        rows.append(_of_lhe(path, line, text))
        read += 1
        if len(rows) == batch:
            yield _joined(rows)
            rows = []
    if not read:
        raise UserError(f"{path} holds no <event>: it is no Les Houches event file, or an empty one")
    if rows:
        yield _joined(rows)


def _lhe_blocks(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Yield the lines of each <event>, and the number of the first one."""
    block: list[str] | None = None
    begun, number, ended = 0, 0, False
    try:
        with _opened(path) as stream:
            for number, raw in enumerate(stream, 1):
                line = raw.decode("utf-8", "replace").strip()
                if line.startswith("<event"):
                    if block is not None:
                        raise UserError(f"{path}, line {number}: an <event> begins within that of line {begun}")
                    block, begun = [], number
                elif line.startswith("</event"):
                    if block is not None:
                        yield begun + 1, block
                    block = None
                elif line.startswith("</LesHouchesEvents"):
                    ended = True
                elif block is not None:
                    block.append(line)
    except DAMAGED as error:
        raise UserError(f"{path} is damaged after line {number} ({error})") from error
    if block is not None:
        raise UserError(f"{path} breaks off within the <event> of line {begun}")
    if not ended:
        raise UserError(f"{path} breaks off after line {number}, before </LesHouchesEvents>: write it again")


def _of_lhe(path: Path, first_line: int, lines: list[str]) -> tuple[dict[str, Any], float]:
    """Return the columns of one event's particles, and its weight."""
    try:
        head = lines[0].split()
        count, weight = int(head[0]), float(head[2])
    except (IndexError, ValueError):
        raise UserError(f"{path}, line {first_line}: an event begins with NUP IDPRUP XWGTUP …") from None
    if len(lines) < count + 1:
        raise UserError(f"{path}, line {first_line}: the event has {len(lines) - 1} lines of particles, not {count}")
    table = np.zeros((count, LHE_NUMBERS))
    for i, line in enumerate(lines[1 : count + 1]):
        try:
            table[i] = [float(word.replace("D", "E").replace("d", "e")) for word in line.split()]
        except ValueError:
            raise UserError(
                f"{path}, line {first_line + 1 + i}: a particle has {LHE_NUMBERS} numbers, not {line[:60]!r}"
            ) from None
    status = table[:, 1].astype(int)
    columns = {
        "pdg_id": table[:, 0].astype(int),
        "status": np.where(status == 1, FINAL, np.where(status == -1, BEAM, BETWEEN)),
        "mother": table[:, 2].astype(int) - 1,
        **{name: table[:, column] for name, column in _LHE.items()},
        **{name: np.zeros(count) for name in ("x_mm", "y_mm", "z_mm")},
    }
    return columns, weight


_LHE: Final = {"px": 6, "py": 7, "pz": 8, "energy": 9, "mass": 10}
