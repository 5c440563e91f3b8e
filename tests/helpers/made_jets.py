"""Made-up jets with the columns of JetClass: prongs by class, without any generator."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import torch

from collider.jets.making.classes import KINDS
from collider.jets.schema import PARTICLE_COLUMNS

MOST = 24


def columns(count: int, seed: int = 0, classes: int = 10, most: int = MOST) -> dict[str, Any]:
    """Columns of `count` jets: a class has 1 + code mod 4 prongs, and more displaced tracks the larger its code."""
    random = np.random.default_rng(seed)
    code = np.arange(count) % classes
    number = random.integers(6, most + 1, count)
    there = np.arange(most) < number[:, None]
    prongs = 1 + code % 4
    angle = 2 * np.pi * random.integers(0, prongs[:, None], (count, most)) / prongs[:, None]
    deta = 0.35 * (prongs[:, None] > 1) * np.cos(angle) + 0.04 * random.normal(size=(count, most))
    dphi = 0.35 * (prongs[:, None] > 1) * np.sin(angle) + 0.04 * random.normal(size=(count, most))
    pt = np.sort(random.exponential(30, (count, most)) + 0.5, axis=1)[:, ::-1]
    eta, phi = random.uniform(-1.5, 1.5, count), random.uniform(-np.pi, np.pi, count)
    kind = random.choice(5, (count, most), p=[0.5, 0.1, 0.38, 0.01, 0.01])
    charge = np.where(np.isin(kind, (1, 2)), 0, random.choice([-1, 1], (count, most)))
    error = random.uniform(0.01, 0.1, (count, most))
    d0 = np.where(charge != 0, error * random.normal(size=(count, most)) * (1 + code[:, None]), 0)
    particle_eta = eta[:, None] + deta * np.where(eta > 0, 1, -1)[:, None]
    px, py, pz = pt * np.cos(phi[:, None] + dphi), pt * np.sin(phi[:, None] + dphi), pt * np.sinh(particle_eta)
    found = {
        "part_px": px,
        "part_py": py,
        "part_pz": pz,
        "part_energy": pt * np.cosh(particle_eta),
        "part_deta": deta,
        "part_dphi": dphi,
        "part_d0val": d0,
        "part_d0err": np.where(charge != 0, error, 0),
        "part_dzval": d0[:, ::-1] * (charge != 0),
        "part_dzerr": np.where(charge != 0, error, 0),
        "part_charge": charge,
    }
    for place, name in enumerate(("ChargedHadron", "NeutralHadron", "Photon", "Electron", "Muon")):
        found[f"part_is{name}"] = kind == place
    found = {name: np.where(there, found[name], 0).astype(np.float32) for name in PARTICLE_COLUMNS}
    four = [found[name].astype(float).sum(1) for name in ("part_px", "part_py", "part_pz", "part_energy")]
    mass = np.sqrt(np.maximum(four[3] ** 2 - four[0] ** 2 - four[1] ** 2 - four[2] ** 2, 0))
    found |= {
        "jet_pt": np.hypot(four[0], four[1]),
        "jet_eta": eta,
        "jet_phi": phi,
        "jet_energy": four[3],
        "jet_nparticles": number,
        "jet_sdmass": 0.9 * mass,
        "jet_mass": mass,
        # what was measured is 5 % low, and a tenth of itself uncertain
        "jet_genmass": mass * 1.05 * np.exp(0.1 * random.normal(size=count)),
        **{f"jet_tau{n}": random.uniform(0.1, 0.3, count) / n for n in (1, 2, 3, 4)},
        **{one.label: (code == one.code).astype(np.int8) for one in KINDS},
        "event_id": np.arange(count, dtype=np.int64) + 1000 * seed,
    }
    return found


def particles(count: int, seed: int = 0, most: int = 12) -> tuple[torch.Tensor, torch.Tensor, dict[str, Any]]:
    """Particles (jet, particle, PARTICLE_COLUMNS) of such jets, where they are, and the columns."""
    found = columns(count, seed, most=most)
    values = torch.from_numpy(np.stack([found[name] for name in PARTICLE_COLUMNS], axis=-1))
    return values, torch.arange(most) < torch.from_numpy(found["jet_nparticles"])[:, None], found


def write(path: Path, count: int, seed: int = 0, **changed: Any) -> Path:
    """Write a file of made-up jets; `changed` columns replace those, None leaves one out."""
    with h5py.File(path, "w") as file:
        for name, values in (columns(count, seed) | changed).items():
            if values is not None:
                file[name] = values
    return path
