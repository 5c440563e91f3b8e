"""Physics with the four detectors: particle flow, jets, missing momentum, identification, masses with fits, and large
jets tagged by ensembles of boosted trees.

By rules alone, from tracks, clusters and segments; with tables of predictions by networks, too, on the events that none
of them was trained on. Writes report.html, physics.json and the pictures.

Examples:
  python scripts/detectors_physics.py data/detectors
  python scripts/detectors_physics.py data/detectors --identity runs/identity/all.hdf5 --momenta runs/combined/all.hdf5

"""

from __future__ import annotations

import argparse
from pathlib import Path

from collider.detectors.events import DetectorEvents
from collider.detectors.jet_energies.learned import LearnedJets
from collider.detectors.physics.chain import Chain
from collider.detectors.physics.config import PhysicsConfig
from collider.detectors.physics.measures import (
    RESAMPLES,
    efficiencies,
    identification,
    jet_figures,
    mass_figures,
    missing_figures,
)
from collider.detectors.physics.report import DATA, Findings, in_words, write_report
from collider.detectors.physics.spoken import spoken_by
from collider.detectors.physics.tagging.figures import tagging_figures
from reconstruction.command import Parser, whole
from reconstruction.errors import UserError
from reconstruction.judging.report.page import refuse_unwritable
from reconstruction.paths import path_of


def command_line() -> Parser:
    """Return the command line."""
    parser = Parser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="Tables are made with `python cli.py predict --run=RUN --predictions=TABLE`, or by "
        "scripts/detectors_combine.py. docs/howto/detectors_physics.md shows the whole way.",
    )
    parser.add_argument("data", type=path_of, nargs="+", metavar="DATA", help="folder or files of scripts/detectors.py")
    parser.add_argument("--identity", type=path_of, default=None, metavar="TABLE", help="who is what, of identity.yaml")
    parser.add_argument(
        "--momenta", type=path_of, nargs="+", default=[], metavar="TABLE",
        help="momenta of candidates, of any network or combination; of several the first that has a candidate counts",
    )  # fmt: skip
    parser.add_argument(
        "--untracked", type=path_of, default=None, metavar="TABLE",
        help="energies without a track in clusters, of untracked.yaml",
    )  # fmt: skip
    parser.add_argument(
        "--jets", type=path_of, default=None, metavar="TABLE", help="energies of the rules' jets, of jets.yaml"
    )
    parser.add_argument("-c", "--config", type=path_of, default=None, help="a YAML file with other cuts")
    parser.add_argument("--resamples", type=whole(), default=RESAMPLES, help="bootstrap samples (default: %(default)s)")
    parser.add_argument("--output", type=path_of, default=Path("runs/physics"), help="folder (default: %(default)s)")
    return parser


def main() -> int:
    """Run the command."""
    arguments = command_line().parse_args()
    config = PhysicsConfig() if arguments.config is None else PhysicsConfig.from_yaml(arguments.config)
    refuse_unwritable(arguments.output)
    findings = found_in(
        arguments.data,
        config,
        arguments.identity,
        arguments.momenta,
        arguments.resamples,
        arguments.untracked,
        arguments.jets,
    )
    page = write_report(findings, arguments.output)
    print(*in_words(findings), sep="\n")
    print(f"{page}; every figure is in {arguments.output / DATA}")
    return 0


def found_in(
    data: list[Path],
    config: PhysicsConfig,
    identity: Path | None,
    momenta: list[Path],
    resamples: int,
    untracked: Path | None = None,
    jets: Path | None = None,
) -> Findings:
    """Return everything that is measured in events. Raises UserError for tables of other events, and for no event."""
    events = DetectorEvents(data)
    if not len(events):
        raise UserError(f"{data[0]} holds no event: make some with scripts/detectors.py")
    spoken = spoken_by(identity, momenta, untracked)
    learned = None if jets is None else LearnedJets.read(jets)
    measured = Chain(events, config, spoken, learned).measured()
    if not len(measured):
        raise UserError(
            "none of the events has a candidate or jet of the tables that no network was trained on: the tables are of "
            "other events, of other cuts of linking, or of their training and validation splits alone"
        )
    return Findings(
        len(measured),
        ", ".join(map(str, data)),
        (*(() if spoken is None else spoken.names), *(() if learned is None else (learned.name,))),
        config,
        jet_figures(measured, config, resamples),
        missing_figures(measured, resamples),
        identification(measured, resamples),
        efficiencies(measured),
        mass_figures(measured, config, resamples),
        tagging_figures(measured, config, resamples),
    )
