"""Pieces of HDF5 files that are to become one data set: do they fit together, is each electron there once?"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

import cres
from cres import schema
from cres.data.consistency import STATED_COLUMNS, Contradiction, StatedLines, contradiction
from cres.data.facts import DEFAULTS, stated_facts
from cres.data.prepare.hdf5_writer import Layout
from cres.data.row_reader import naming_damage
from cres.data.settings import Assembly
from cres.errors import UserError
from cres.provenance import git_commit
from cres.stated import CONFIGURATIONS


@dataclass(frozen=True)
class FilePiece:
    """Rows of one HDF5 file that go into the output: `keep` holds their positions, in order."""

    path: Path
    source: str
    """What a person calls it: the file that it was made from."""
    sha256: str
    keep: NDArray[np.int64]
    source_rows: NDArray[np.int64]
    layout: Layout
    attributes: dict[str, Any]
    lines: NDArray[np.float64] | None = None
    """Where the strongest line of each row of the file is, where that is known: see `cres.data.consistency`."""

    @property
    def rows(self) -> int:
        """Number of rows that are kept."""
        return len(self.keep)

    def column(self, name: str) -> NDArray[Any]:
        """Return the kept rows of a scalar column."""
        with (
            naming_damage(self.path, name, 0, int(self.keep.max(initial=0))),
            h5py.File(self.path, "r", locking=False) as file,
        ):
            return np.asarray(file[name][...])[self.keep]

    def describe(self, row: int) -> str:
        """Say where a kept row came from."""
        return f"{self.source} row {self.source_rows[self.keep[row]]}"


def one_layout(pieces: Sequence[FilePiece], skip_bad: bool) -> tuple[list[FilePiece], list[str]]:
    """Return the pieces whose columns agree, and what is wrong with the others.

    The reference is the first piece, or the layout of most rows where the others may be skipped.
    Raises UserError for the first difference unless `skip_bad`.
    """
    votes: Counter[str] = Counter()
    for piece in pieces:
        votes[_signature(piece.layout)] += piece.rows
    wanted = votes.most_common(1)[0][0] if skip_bad else _signature(pieces[0].layout)
    reference = next(piece for piece in pieces if _signature(piece.layout) == wanted)
    agreeing = [piece for piece in pieces if _signature(piece.layout) == wanted]
    different = [_difference(piece, reference) for piece in pieces if _signature(piece.layout) != wanted]
    if different and not skip_bad:
        raise UserError(f"{different[0]}; leave such files out with --skip-bad, or prepare them on their own")
    return agreeing, different


def _signature(layout: Layout) -> str:
    # Texts may be of any width; the widest of all files decides.
    return repr(sorted((name, column.dtype.kind, column.tail) for name, column in layout.items()))


def _difference(piece: FilePiece, reference: FilePiece) -> str:
    missing = sorted(set(reference.layout) - set(piece.layout))
    extra = sorted(set(piece.layout) - set(reference.layout))
    if missing or extra:
        what = f"has no column {missing[0]}, which" if missing else f"has a column {extra[0]}, which"
        verb = "has" if missing else "has not"
        return f"{piece.source} {what} {reference.source} {verb}"
    for name, column in sorted(piece.layout.items()):
        other = reference.layout[name]
        if column.tail != other.tail:
            return (
                f"{piece.source} has {column.tail[0] if column.tail else 1} values a row in {name}, "
                f"{reference.source} has {other.tail[0] if other.tail else 1}"
            )
    name = next(n for n, c in sorted(piece.layout.items()) if c.dtype.kind != reference.layout[n].dtype.kind)
    kinds = f"{piece.layout[name].dtype}, in {reference.source} {reference.layout[name].dtype}"
    return f"{piece.source} holds in {name} values of type {kinds}"


def without_duplicates(pieces: Sequence[FilePiece], skip_bad: bool) -> tuple[list[FilePiece], list[str]]:
    """Return the pieces without rows that repeat an earlier electron, by its content or by its event id.

    Records that hold nothing (one value throughout) are alike and still different electrons, by their ids.
    Raises UserError for the first one unless `skip_bad`.
    """
    content = np.concatenate([piece.column(schema.CONTENT_HASH) for piece in pieces])
    events = np.concatenate([piece.column(schema.EVENT_ID) for piece in pieces])
    starts = np.cumsum([0, *(piece.rows for piece in pieces)])
    same = {
        row: found
        for row, found in _repeats(content, "is the same electron as").items()
        if not _holds_nothing(pieces, starts, row)
    }
    repeats = {**_repeats(events, f"has the {schema.EVENT_ID} of"), **same}
    if not repeats:
        return list(pieces), []
    told = [_repeat_sentence(pieces, starts, row, *repeats[row]) for row in sorted(repeats)]
    if not skip_bad:
        more = f" (and {len(told) - 1} more)" if len(told) > 1 else ""
        raise UserError(f"{told[0]}{more}; leave repeated rows out with --skip-bad{_new_ids_hint(told[0])}")
    drop = np.zeros(len(content), bool)
    drop[list(repeats)] = True
    kept = [
        replace(piece, keep=piece.keep[~drop[start : start + piece.rows]])
        for piece, start in zip(pieces, starts, strict=False)
    ]
    return [piece for piece in kept if piece.rows], told


def _holds_nothing(pieces: Sequence[FilePiece], starts: NDArray[np.int64], row: int) -> bool:
    """Tell whether the record of a row has one value throughout, in I and in Q."""
    index = int(np.searchsorted(starts, row, side="right")) - 1
    piece = pieces[index]
    place = int(piece.keep[row - int(starts[index])])
    for name in schema.SERIES_COLUMNS:
        with naming_damage(piece.path, name, place, place), h5py.File(piece.path, "r") as file:
            volts = np.asarray(file[name][place])
        if volts.min() != volts.max():
            return False
    return True


def _new_ids_hint(sentence: str) -> str:
    return ", or number the events anew with --new-event-ids" if schema.EVENT_ID in sentence else ""


def _repeats(values: NDArray[np.int64], how: str) -> dict[int, tuple[int, str]]:
    """Return for each row that repeats an earlier value: the row of the first one, and how it repeats it."""
    _, first, inverse = np.unique(values, return_index=True, return_inverse=True)
    rows = np.flatnonzero(first[inverse] != np.arange(len(values)))
    return {int(row): (int(first[inverse[row]]), how) for row in rows}


def _repeat_sentence(pieces: Sequence[FilePiece], starts: NDArray[np.int64], row: int, first: int, how: str) -> str:
    def place(position: int) -> str:
        index = int(np.searchsorted(starts, position, side="right")) - 1
        return pieces[index].describe(position - int(starts[index]))

    return f"{place(row)} {how} {place(first)}"


def facts_of(pieces: Sequence[FilePiece], assembly: Assembly) -> dict[str, float]:
    """Return sampling rate and oscillator: those asked for, those of the files, or the documented defaults.

    Raises UserError when two files differ; one that does not say counts as stating the default.
    """
    facts: dict[str, float] = {}
    for name in DEFAULTS:
        asked = getattr(assembly, name)
        facts[name] = _common_fact(pieces, name) if asked is None else float(asked)
    return facts


def _common_fact(pieces: Sequence[FilePiece], name: str) -> float:
    said: dict[float, str] = {}
    for piece in pieces:
        stated = stated_facts(piece.attributes, piece.source)
        how = piece.source if name in stated else f"{piece.source} (assumed, it does not say)"
        said.setdefault(stated.get(name, DEFAULTS[name]), how)
    if len(said) > 1:
        (first, one), (second, other) = list(said.items())[:2]
        option = "--" + name.replace("_", "-")
        raise UserError(
            f"{name} is {first:g} in {one} and {second:g} in {other}; prepare them on their own, or state it for all "
            f"with {option}"
        )
    return next(iter(said))


def assumed_facts(pieces: Sequence[FilePiece], assembly: Assembly) -> list[str]:
    """Return the names of the facts that no file states and nobody asked for: those that are defaults."""
    return [
        name
        for name in DEFAULTS
        if getattr(assembly, name) is None and not all(name in piece.attributes for piece in pieces)
    ]


def said_of_defaults(assumed: Sequence[str], facts: dict[str, float]) -> list[str]:
    """Return the sentence that says which facts are defaults, and how to state others; none where none is."""
    words = {
        "sampling_rate_hz": f"the sampling rate ({facts['sampling_rate_hz'] / 1e6:g} MHz)",
        "lo_frequency_hz": f"the oscillator ({facts['lo_frequency_hz'] / 1e9:.10g} GHz)",
    }
    if not assumed:
        return []
    options = " and ".join("--" + name.replace("_", "-") for name in assumed)
    verb = "is the default" if len(assumed) == 1 else "are the defaults"
    named = " and ".join(words[name] for name in assumed)
    return [f"{named} {verb}: the files do not say; state yours with {options}"]


def contradictions(pieces: Sequence[FilePiece], facts: dict[str, float]) -> list[str]:
    """Return a sentence for each file whose records show other carriers than it states; one for many alike."""
    found: dict[str, list[str]] = {}
    for piece in pieces:
        against = _contradiction(piece, facts)
        if against is not None:
            found.setdefault(against.cause, []).append(f"{piece.source}: {against}")
    return [said[0] + (f" (and {len(said) - 1} more files)" if len(said) > 1 else "") for said in found.values()]


def _contradiction(piece: FilePiece, facts: dict[str, float]) -> Contradiction | None:
    if piece.lines is None:
        return None
    columns = {name: piece.column(name) for name in STATED_COLUMNS if name in piece.layout}
    samples = int(piece.layout[schema.SERIES_I].tail[0])
    stated = StatedLines.of_columns(piece.lines[piece.keep], columns, samples)
    return None if stated is None else contradiction(stated, facts["sampling_rate_hz"], facts["lo_frequency_hz"])


def root_attributes(
    pieces: Sequence[FilePiece], facts: dict[str, float], assumed: Sequence[str], skipped: Sequence[str]
) -> dict[str, Any]:
    """Return the root attributes of an output made of these pieces."""
    settings = [piece.attributes for piece in pieces if piece.attributes]
    attributes: dict[str, Any] = {
        "schema_version": schema.SCHEMA_VERSION,
        **facts,
        "assumed": " ".join(assumed),
        "created_by": f"cres {cres.__version__}",
        "git_commit": git_commit(),
        "config": str(settings[0].get("config", "{}")) if settings else "{}",
        "sources": json.dumps({piece.source: piece.sha256 for piece in pieces}, sort_keys=True),
        "skipped": json.dumps(list(skipped)),
    }
    configs = {str(piece.attributes.get("config", "{}")) for piece in pieces}
    if len(configs) > 1:
        attributes[CONFIGURATIONS] = len(configs)
    seeds = {_seed(piece.attributes["seed"]) for piece in pieces if "seed" in piece.attributes}
    if len(seeds) == 1:
        attributes["seed"] = seeds.pop()
    return attributes


def _seed(value: Any) -> int | str:
    """Return a seed as HDF5 can hold it: as a number, or as text where somebody's seed is no int64."""
    number = value.item() if isinstance(value, np.generic) else value
    return number if isinstance(number, int) and -(2**63) <= number < 2**63 else str(number)
