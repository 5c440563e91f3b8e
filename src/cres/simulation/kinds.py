"""Records of several kinds in one data set: no electron, one, two at once, one that scatters within the record.

The kind of a record, and the second electron of two, follow from the event's identity alone, as all of it does: not
from the shard, the worker or the number.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cres import schema
from cres.simulation.config import SimulationConfig
from cres.simulation.electrons import Electrons, sample_electrons
from cres.simulation.kinds_config import Kind, KindsConfig

Columns = dict[str, NDArray[Any]]
Make = Callable[[SimulationConfig, Electrons, int], Columns]
"""Makes all columns of electrons, with the series of one read-out channel."""

_STREAM = 0x41D5
SEPARATION = "carrier_separation_Hz"
SECOND_SNRS = {"second_signal_snr": "signal_snr", "second_sideband_snr": "sideband_snr"}
OF_TRACKS = ("track_count", "event_end", "first_track_s")
"""What is kept of the columns of a scattered event; the tables of all of its tracks are not."""


def kinds_of(shares: tuple[float, ...], event_id: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return `Kind` of each event (rows,), drawn with these shares, keyed by its identity."""
    keys = [np.random.Philox(key=[int(event) % 2**64, _STREAM]) for event in event_id]
    draws = np.array([np.random.Generator(key).random() for key in keys])
    edges = np.cumsum(shares)[:-1]
    return np.searchsorted(edges, draws, side="right").astype(np.int64)


def partners(config: SimulationConfig, event_id: NDArray[np.int64]) -> Electrons:
    """Return the second electron of each event: of the same ensemble, from a sequence of its own."""
    made = [_sequence(config, run) for run in _runs(event_id)]
    return Electrons(**{name: np.concatenate([getattr(one, name) for one in made]) for name in vars(made[0])})


def mixed_columns(config: SimulationConfig, electrons: Electrons, channel: int, make: Make) -> Columns:
    """Return all columns of records of the configured kinds, their series those of one read-out channel.

    The start values are those of the first electron; where there is none they are those of one that is not there, whose
    signal-to-noise ratios are 0. `carrier_separation_Hz` is the mean carrier of the second electron less that of the
    first, `second_signal_snr` and `second_sideband_snr` are its ratios to the noise; 0 where there are not two.
    `track_count`, `event_end` and `first_track_s` are those of a record with scattering.
    """
    kind = kinds_of(config.kinds.shares, electrons.event_id)
    quiet = replace(config.scattering, density_per_m3=0.0)
    plain, scattering = (
        replace(config, kinds=KindsConfig(), scattering=one)
        for one in (quiet, replace(config.scattering, within_record=True))
    )
    there = replace(electrons, amplitude=np.where(kind == Kind.NONE, 0.0, electrons.amplitude))
    calm = kind != Kind.SCATTERED
    parts = [(calm, _without_tracks(plain, make(plain, there[calm], channel), kind[calm] != Kind.NONE))]
    if not calm.all():
        parts.append((~calm, make(scattering, there[~calm], channel)))
    columns = _merged(parts, len(electrons))
    _add_second(columns, kind == Kind.TWO, lambda two: make(plain, partners(config, electrons.event_id[two]), channel))
    return columns | {"record_kind": kind}


def _add_second(columns: Columns, two: NDArray[np.bool_], make: Callable[[NDArray[np.bool_]], Columns]) -> None:
    """Add the second electrons to the records (rows,) that have one, and say how far apart they are."""
    columns |= {name: np.zeros(len(two)) for name in (SEPARATION, *SECOND_SNRS)}
    if not two.any():
        return
    second = make(two)
    for name in schema.SERIES_COLUMNS:
        columns[name][two] += second[name]
    columns[SEPARATION][two] = second[schema.CARRIER_FREQUENCY] - columns[schema.CARRIER_FREQUENCY][two]
    for name, own in SECOND_SNRS.items():
        columns[name][two] = second[own]


def _without_tracks(config: SimulationConfig, columns: Columns, there: NDArray[np.bool_]) -> Columns:
    """Return columns with what those of scattered events have, for electrons that do not scatter."""
    tracks = {
        "track_count": there.astype(np.int64),
        "event_end": np.zeros(len(there), np.int64),
        "first_track_s": np.where(there, config.readout.duration_s, 0.0),
    }
    return tracks | columns


def _merged(parts: list[tuple[NDArray[np.bool_], Columns]], rows: int) -> Columns:
    """Return the columns that all parts have, each part in its rows."""
    names = [name for name in parts[0][1] if all(name in columns for _, columns in parts)]
    kept = [name for name in names if not name.startswith("track_") or name in OF_TRACKS]
    merged: Columns = {}
    for name in kept:
        first = parts[0][1][name]
        merged[name] = np.empty((rows, *first.shape[1:]), first.dtype)
        for place, columns in parts:
            merged[name][place] = columns[name]
    return merged


def _runs(event_id: NDArray[np.int64]) -> list[NDArray[np.int64]]:
    """Return the events in pieces whose identities follow one another."""
    return np.split(event_id, np.flatnonzero(np.diff(event_id) != 1) + 1)


def _sequence(config: SimulationConfig, run: NDArray[np.int64]) -> Electrons:
    """Return electrons of the second ones' sequence, those with the numbers of these events."""
    seed, number = divmod(int(run[0]), 2**32)
    digest = hashlib.blake2b(f"second electrons {seed}".encode(), digest_size=7).digest()
    return sample_electrons(config, len(run), int.from_bytes(digest, "little") | 1 << 40, number)
