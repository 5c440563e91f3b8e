"""Judge a network that is told masses, at every mass point: beside boosted trees and networks of one point each.

Events are those that no network was trained on. Writes report.html, comparison.json and the pictures.

Examples:
  python scripts/higgs_compare.py runs/higgs --data data/higgs
  python scripts/higgs_compare.py runs/higgs --dedicated runs/higgs_dedicated/alone --data data/higgs
  python scripts/higgs_compare.py runs/higgs_seed* --data data/higgs --output runs/ensemble

"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Sequence

import numpy as np

from collider.higgs.judging.compare import FEWEST, MassComparison, PointResult
from collider.higgs.judging.figures import RESAMPLES
from collider.higgs.judging.report import DATA, in_words, write_report
from collider.higgs.judging.scores import Network, runs_in, trained_rows, unseen
from collider.higgs.judging.trees import Trees
from collider.higgs.learning.data import HiggsDataModule
from collider.higgs.learning.samples import manifest_of, roles_of
from collider.higgs.making.config import Point
from collider.higgs.making.processes import TOP_PAIR_PB
from reconstruction.command import Parser, whole
from reconstruction.errors import UserError
from reconstruction.paths import path_of, place_of
from reconstruction.progress import progress_bar

FINISHED = "finished.json"
"""Of scripts/stages.py: what a training took."""


def command_line() -> Parser:
    """Return the command line."""
    parser = Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "runs", type=path_of, nargs="+", metavar="RUN", help="runs that are told masses; several are an ensemble"
    )
    parser.add_argument(
        "--dedicated",
        type=path_of,
        nargs="+",
        default=[],
        metavar="RUN",
        help="runs of one mass point each, or folders of them",
    )
    parser.add_argument("--data", type=place_of, default="data/higgs", help="folder of samples (default: data/higgs)")
    parser.add_argument("--output", type=path_of, default=None, help="folder (default: RUN/judged)")
    parser.add_argument("--resamples", type=whole(), default=RESAMPLES, help="bootstrap samples of the events")
    parser.add_argument("--no-trees", action="store_true", help="leave the boosted trees out")
    return parser


def main() -> int:
    """Run the comparison."""
    arguments = command_line().parse_args()
    networks = [Network.load(run) for run in runs_in(arguments.runs)]
    alone = [Network.load(run) for run in runs_in(arguments.dedicated)]
    comparison = compared(networks, alone, arguments.data, not arguments.no_trees, arguments.resamples)
    results = results_of(comparison)
    folder = arguments.output or arguments.runs[0] / "judged"
    times = times_of(networks, alone)
    page = write_report(comparison, results, times, folder)
    for line in in_words(comparison, results, times):
        print(line)
    print(f"{page}; every figure is in {folder / DATA}")
    return 0


def compared(
    networks: Sequence[Network], alone: Sequence[Network], folder: str, trees: bool, resamples: int
) -> MassComparison:
    """Return what is compared, on the events that no network met. Raises UserError for what cannot be."""
    _require_alike(networks, alone)
    dedicated = _by_point(alone)
    roles = roles_of(manifest_of(folder) or {})
    data = HiggsDataModule(folder, points=tuple(roles) or None, channels=tuple(_channels(networks[0])))
    data.settings = networks[0].module.settings
    events = unseen(data, [*networks, *alone])
    fitted = _trees(events.data, networks[0], dedicated) if trees else None
    return MassComparison(networks, dedicated, fitted, events, roles, reference_of(folder), resamples)


def results_of(comparison: MassComparison) -> list[PointResult]:
    """Return what is known of each point. Raises UserError where none has enough events."""
    points = sorted(point for point, rows in comparison.events.signals.items() if len(rows) >= FEWEST)
    if not points:
        raise UserError(
            f"no mass point has {FEWEST} signal events that no network met: make more with scripts/higgs.py"
        )
    found = []
    with progress_bar() as bar:
        task = bar.add_task("judging", total=len(points), unit="mass points")
        for point in points:
            found.append(comparison.at(point))
            bar.advance(task)
    return found


def _channels(network: Network) -> list[str]:
    return list(network.module.card["data"].get("channels", ()))


def _require_alike(networks: Sequence[Network], alone: Sequence[Network]) -> None:
    """Raise UserError for networks of which one is told nothing, or which do not belong beside the first."""
    first = networks[0]
    for network in networks:
        if not network.told:
            raise UserError(
                f"{network.folder} is told no masses: it belongs behind --dedicated, or wants model.condition"
            )
        if network.points != first.points:
            raise UserError(f"{network.folder} and {first.folder} were trained on other mass points: no ensemble")
    for network in (*networks, *alone):
        if sorted(_channels(network)) != sorted(_channels(first)):
            raise UserError(
                f"{network.folder} and {first.folder} were trained on other channels (data.channels): the same events "
                "are no fair test of both"
            )


def _by_point(alone: Sequence[Network]) -> dict[Point, Network]:
    """Return dedicated networks by their point. Raises UserError for one of several points, and for two of one."""
    found: dict[Point, Network] = {}
    for network in alone:
        if len(network.points) != 1:
            raise UserError(
                f"{network.folder} was trained on {len(network.points)} mass points, and a dedicated network has one: "
                "give --data.points='[[130,90]]' to its training"
            )
        point = network.points[0]
        if point in found:
            raise UserError(
                f"{network.folder} and {found[point].folder} are both of ({point[0]:g}, {point[1]:g}): name one of them"
            )
        found[point] = network
    return found


def _trees(data: HiggsDataModule, network: Network, dedicated: dict[Point, Network]) -> Trees:
    """Return trees that are fitted on what the networks were trained on."""
    alone = {point: trained_rows(data, one) for point, one in dedicated.items()}
    return Trees.fit(data.records, trained_rows(data, network), alone)


def reference_of(folder: str) -> float:
    """Return the branching ratio that weights of signals stand for: half of their cross-section over that of tt̄.

    NaN where no manifest says their cross-section.
    """
    manifest = manifest_of(folder) or {}
    signals = [one for one in manifest.get("samples", {}).values() if "mass_a_gev" in one]
    known = [float(one["cross_section_pb"]) for one in signals if "cross_section_pb" in one]
    return float(np.median(known)) / (2 * TOP_PAIR_PB) if known else math.nan


def times_of(networks: Sequence[Network], alone: Sequence[Network]) -> dict[str, float]:
    """Return the mean processor time in seconds of trainings that scripts/stages.py has measured."""
    found = {}
    for name, group in (("network", networks), ("dedicated", alone)):
        files = [one.folder / FINISHED for one in group if (one.folder / FINISHED).exists()]
        if files:
            found[name] = float(np.mean([json.loads(file.read_text())["processor_s"] for file in files]))
    return found
