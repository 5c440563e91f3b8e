"""Where the width of jets comes from: particle flow that is told parts of the truth.

    python benchmarks/flow_oracles.py data/detectors --output runs/flow_oracles        of scripts/detectors.py

Jets of 30 to 100 GeV of the flow by rules, then with what each candidate truly is, with the true momenta of candidates
of some kinds, and with the true energy of particles without a track in the clusters of each candidate: what perfect
networks of identities, of momenta and of that energy would give. Before the table: how much energy is of particles that
no candidate stands for. Writes table.md and summary.json.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np

from collider.detectors import DetectorEvents
from collider.detectors.events import EventSlice
from collider.detectors.learning.candidates import matched_particles
from collider.detectors.learning.columns import CLASSES, NEUTRAL_HADRON, PHOTON
from collider.detectors.learning.untracked import untracked_gev
from collider.detectors.particles import Floats
from collider.detectors.physics.chain import NEEDED, PIECE, Chain
from collider.detectors.physics.config import PhysicsConfig
from collider.detectors.physics.flow import Opinion, by_rules, flow_of, momenta_of, true_flow
from collider.detectors.physics.jets import LONELY, jets_of, looked_for, nearest_jets
from collider.detectors.physics.measures import ASKED_JETS_GEV, spread
from collider.detectors.physics.objects import Objects, objects_of
from collider.detectors.schema import ECAL_CELLS, HCAL_CELLS, NONE
from reconstruction.command import Parser
from reconstruction.errors import run
from reconstruction.paths import path_of
from steps import markdown, write_results

RULES: Final = "rules"
LARGEST_ETA: Final = 2.4


def told(part: EventSlice, objects: Objects, config: PhysicsConfig) -> tuple[dict[str, Opinion], dict[str, Floats]]:
    """Return opinions that know parts of the truth, and energies of neutral particles: all, and of no candidate."""
    rules = by_rules(objects, config.flow)
    true = true_flow(part)
    particle = np.full(len(objects), NONE)
    particle[objects.heads] = matched_particles(part, objects.heads, objects.owner)
    kind = np.where(particle >= 0, np.append(true.kind, NONE)[particle], rules.kind)
    size = np.append(np.linalg.norm(true.momentum_gev, axis=1), np.nan)[particle]
    by_kind = momenta_of(objects, config.flow, kind)
    opinions = {RULES: rules, "true kinds": Opinion(kind, by_kind)}
    for name, codes in (
        ("true kinds, momenta of photons", (PHOTON,)),
        ("true kinds, momenta of neutral hadrons", (NEUTRAL_HADRON,)),
        ("true kinds and momenta", tuple(CLASSES.values())),
    ):
        mine = (particle >= 0) & np.isin(kind, codes)
        opinions[name] = Opinion(kind, np.where(mine, size, by_kind))
    untracked = untracked_gev(part, objects.candidate, len(objects))
    alone = np.arange(len(objects)) >= objects.tracks
    for name, own in (("true energies without a track", rules), ("the same, true kinds", opinions["true kinds"])):
        opinions[name] = Opinion(own.kind, np.where(alone, untracked, own.momentum_gev), untracked)
    hidden = np.ones(len(true), dtype=bool)
    hidden[particle[particle >= 0]] = False
    judged = (np.abs(true.eta) <= LARGEST_ETA) & (true.pt_gev >= 0.5)
    shares = {}
    for name, code in (("photons", PHOTON), ("neutral hadrons", NEUTRAL_HADRON)):
        mine = judged & (true.kind == code)
        shares[name] = np.array([true.energy_gev[mine].sum(), true.energy_gev[mine & hidden].sum()])
    return opinions, shares


def ratios(chain: Chain, start: int, stop: int) -> tuple[dict[str, Floats], Floats, Floats, dict[str, Floats]]:
    """Return pT over the true one of each true jet by opinion, NaN for not found, its pT, event, and energies."""
    config, part = chain.config, chain.events.read(slice(start, stop), (*NEEDED, ECAL_CELLS, HCAL_CELLS))
    objects = objects_of(part, config.flow, chain.stations, chain.ecal, chain.tracker.field_t)
    true = jets_of(true_flow(part), len(part), config.jets)
    true = true.kept((true.lonely <= LONELY) & (np.abs(true.eta) <= config.jets.eta))
    opinions, shares = told(part, objects, config)
    found = {}
    for name, opinion in opinions.items():
        jets = jets_of(flow_of(objects, config.flow, opinion), len(part), looked_for(config.jets))
        place = nearest_jets(true, jets, config.jet_distance)
        found[name] = np.where(place >= 0, np.append(jets.pt_gev, np.nan)[place], np.nan) / true.pt_gev
    return found, true.pt_gev, true.event + start, shares


def joined(pieces: Sequence[dict[str, Floats]]) -> dict[str, Floats]:
    """Return columns of pieces, one after the other."""
    return {name: np.concatenate([piece[name] for piece in pieces]) for name in pieces[0]}


def command_line() -> Parser:
    """Return the command line."""
    parser = Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=path_of, nargs="+", help="folder or files of events of scripts/detectors.py")
    parser.add_argument("--output", type=path_of, default=Path("runs/flow_oracles"), help="folder")
    return parser


def main() -> int:
    """Tell, make jets, judge."""
    arguments = command_line().parse_args()
    chain = Chain(DetectorEvents(arguments.data), PhysicsConfig())
    count = len(chain.events)
    pieces = [ratios(chain, start, min(start + PIECE, count)) for start in range(0, count, PIECE)]
    found, shares = joined([piece[0] for piece in pieces]), [piece[3] for piece in pieces]
    pt, event = (np.concatenate([piece[place] for piece in pieces]) for place in (1, 2))
    asked = (pt >= ASKED_JETS_GEV[0]) & (pt < ASKED_JETS_GEV[1])
    asked &= np.isfinite(np.stack(list(found.values()))).all(axis=0)
    hidden = {}
    for name in shares[0]:
        total, unseen = sum(piece[name] for piece in shares)
        hidden[name] = float(unseen / total)
        print(f"{hidden[name]:.0%} of the energy of {name} are of particles that no candidate stands for")
    rows: dict[str, Any] = {}
    for name, values in found.items():
        figures = spread(values[asked], event[asked], 200)
        width = figures["relative"]
        rows[name] = {"median": figures["median"].value, "width": width.value, "error": (width.high - width.low) / 2}
    lines = [[name, f"{row['median']:.3f}", f"{row['width']:.2%} ± {row['error']:.2%}"] for name, row in rows.items()]
    summary = {"events": count, "jets": int(asked.sum()), "no candidate": hidden, "rows": rows}
    write_results(arguments.output, summary, markdown(["told", "median", "σ68(pT) over the median"], lines))
    print(f"{asked.sum()} jets of {ASKED_JETS_GEV[0]:g} to {ASKED_JETS_GEV[1]:g} GeV in {count} events")
    return 0


if __name__ == "__main__":
    run(main)
