"""Toy samples of the search: two muons of mass mA and what is left for the W, drawn in numpy in the layout of files.

Backgrounds: non-prompt (a broad dimuon mass, soft third lepton), diboson (a Z, few b jets), tt̄X (a Z, many jets).
"""

from __future__ import annotations

import json
from pathlib import Path

import h5py
import numpy as np

POINTS = ((115.0, 85.0), (130.0, 90.0), (160.0, 95.0))
BACKGROUNDS = ("nonprompt", "diboson", "ttx")
OBJECTS = 14
FOLDS = 5
NAMES = ("kind", "charge", "b_tag", "isolation", "mass_gev", "pt_gev", "eta", "phi_rad")


def pair(random: np.random.Generator, mass: np.ndarray, boost: np.ndarray) -> list[np.ndarray]:
    """Return pT, η, φ of two massless decay products of something at rest along the beam, boosted across it."""
    cosine, angle = random.uniform(-1, 1, len(mass)), random.uniform(-np.pi, np.pi, len(mass))
    sine = np.sqrt(1 - cosine**2)
    found = []
    for sign in (1, -1):
        energy = mass / 2
        px, py, pz = (sign * energy * part for part in (sine * np.cos(angle), sine * np.sin(angle), cosine))
        gamma = np.sqrt(1 + (boost / mass) ** 2)
        px = gamma * px + boost / mass * energy
        pt = np.hypot(px, py)
        found.append(np.stack([pt, np.arcsinh(pz / pt), np.arctan2(py, px)]))
    return found


def events(kind: str, count: int, seed: int, point: tuple[float, float] = (0.0, 0.0)) -> dict[str, np.ndarray]:
    """Return the columns of toy events of a kind."""
    random = np.random.default_rng(seed)
    if kind == "signal":
        dimuon, third = point[1] * random.normal(1, 0.015, count), point[0] - point[1]
        jets = 2 + random.poisson(1.5, count)
    else:
        dimuon = {
            "nonprompt": random.uniform(20, 140, count),
            "diboson": random.normal(91.2, 2.5, count),
            "ttx": random.normal(91.2, 2.5, count),
        }[kind]
        third = {"nonprompt": 20.0, "diboson": 60.0, "ttx": 60.0}[kind]
        jets = 2 + random.poisson({"nonprompt": 1.5, "diboson": 0.6, "ttx": 3.0}[kind], count)
    muons = pair(random, np.maximum(dimuon, 12.0), random.exponential(60, count))
    objects = np.zeros((count, OBJECTS, len(NAMES)), np.float32)
    jets = np.minimum(jets, OBJECTS - 3)
    lepton = np.stack([10 + random.exponential(third, count), random.normal(0, 1, count), random.uniform(-3, 3, count)])
    for place, (momentum, code, charge) in enumerate(
        ((muons[0], 13, 1), (muons[1], 13, -1), (lepton, 11, 2 * random.integers(2, size=count) - 1))
    ):
        objects[:, place, 0], objects[:, place, 1], objects[:, place, 5:] = code, charge, momentum.T
    for jet in range(OBJECTS - 3):
        there = jet < jets
        drawn = np.stack([25 + random.exponential(40, count), random.normal(0, 1.2, count)])
        objects[there, 3 + jet, 0], objects[there, 3 + jet, 5:7] = 1, drawn.T[there]
        objects[there, 3 + jet, 7] = random.uniform(-np.pi, np.pi, count)[there]
        objects[there, 3 + jet, 2] = (random.random(count) < (0.1 if kind == "diboson" else 0.6))[there]
    columns = {
        f"object_{name}": objects[..., place].astype(np.int8 if name in ("kind", "charge", "b_tag") else np.float32)
        for place, name in enumerate(NAMES)
    }
    order = np.arange(count)
    return columns | {
        "objects": 3 + jets,
        "missing_pt_gev": random.exponential(40, count).astype(np.float32),
        "missing_phi_rad": random.uniform(-3, 3, count).astype(np.float32),
        "channel": np.zeros(count, np.int8),
        "class": np.full(count, ("signal", *BACKGROUNDS).index(kind), np.int8),
        "weight": np.full(count, {"signal": 0.01, "nonprompt": 2.0, "diboson": 1.0, "ttx": 0.3}[kind]),
        "fold": (order % FOLDS).astype(np.int8),
        "mass_charged_higgs_gev": np.full(count, point[0] or 130.0),
        "mass_a_gev": np.full(count, point[1] or 90.0),
        "event_id": (np.int64(seed + 1) << 32) + order,
    }


def write_sample(folder: Path, columns: dict[str, np.ndarray]) -> Path:
    """Write one sample, its events in one file."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "events_0000.hdf5"
    with h5py.File(path, "w") as file:
        for name, values in columns.items():
            file[name] = values
        file.attrs["channels"] = json.dumps(["1e2mu", "3mu"])
    return path


def write_samples(
    folder: Path,
    count: int = 300,
    points: tuple[tuple[float, float], ...] = POINTS,
    extra: dict[str, tuple[tuple[float, float], ...]] | None = None,
) -> Path:
    """Write signals (`points` are to train on, `extra` of other roles), backgrounds and their manifest."""
    samples = {}
    roles = [("trained", point) for point in points]
    roles += [(role, point) for role, others in (extra or {}).items() for point in others]
    for seed, (role, point) in enumerate(roles):
        name = f"signal_{point[0]:g}_{point[1]:g}"
        write_sample(folder / name, events("signal", count, seed, point))
        masses = {"mass_charged_higgs_gev": point[0], "mass_a_gev": point[1]}
        samples[name] = {"role": role, "events": count, "cross_section_pb": 0.01, **masses}
    for seed, kind in enumerate(BACKGROUNDS, 100):
        write_sample(folder / kind, events(kind, count, seed))
        samples[kind] = {"role": "background", "events": count, "cross_section_pb": 1.0}
    (folder / "samples.json").write_text(json.dumps({"samples": samples}))
    return folder
