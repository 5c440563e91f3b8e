"""Jets of ten classes, generated, smeared and matched to the truth: HDF5 files with the column names of JetClass."""

from __future__ import annotations

import argparse
import dataclasses
import math
from pathlib import Path

from collider.jets.making.config import JetSample
from collider.jets.making.files import BYTES_A_JET, JETS_PER_FILE, SECONDS_A_JET, JetFile, jet_files, write_jet_files
from reconstruction.command import Parser, number, task, whole
from reconstruction.errors import UserError
from reconstruction.paths import path_of, place_of
from reconstruction.ranges import POSITIVE, SEED
from reconstruction.workers import available_cpus


def command_line() -> Parser:
    """Return the command line."""
    parser = Parser(
        description=__doc__,
        epilog="An interrupted run goes on with the same command; what is complete is not made again. Many jets: the "
        "same command as an array job, each task with its --task I/N. docs/howto/jets.md has the keys of a "
        "configuration.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("--events", type=whole(), default=20_000, help="jets, as many of each class")
    parser.add_argument(
        "--output",
        type=path_of,
        default=None,
        help="folder for what is written (default: data/jets; of --draw and --compare that of RUN or DRAWN)",
    )
    parser.add_argument("-c", "--config", type=place_of, default=None, help="a YAML file (default: as JetClass has it)")
    parser.add_argument("--seed", type=whole(SEED), default=None, help="seed (default: of the configuration)")
    parser.add_argument(
        "--workers", type=whole(), default=available_cpus(), help="processes; the result does not depend on it"
    )
    parser.add_argument("--jets-per-file", type=whole(), default=JETS_PER_FILE, help="jets in one HDF5 file")
    parser.add_argument("--task", type=task, default=None, help="I/N: make only the files of one task of an array job")
    parser.add_argument(
        "--trees",
        type=path_of,
        default=None,
        metavar="DATA",
        help="write only OUTPUT/trees.hdf5: what boosted trees on jet quantities, trained on these files, say of their "
        "test split, a table for --judge and scripts/evaluate.py",
    )
    parser.add_argument(
        "--judge",
        type=path_of,
        nargs="+",
        default=None,
        metavar="SOURCE",
        help="write only OUTPUT/jets.json and the chart OUTPUT/jets.png, and print it, of tables of predictions or of "
        "runs: accuracy, top 3, F1, area under the curve and rejection of classes; response, width and coverage of "
        "masses in bins of pT; what a pre-training rebuilds of hidden particles and their jets; jets that a run draws "
        "or completes, beside simulated ones",
    )
    parser.add_argument(
        "--unlike",
        type=path_of,
        nargs="+",
        default=None,
        metavar=("RUN", "DATA"),
        help="write only OUTPUT/unlike.hdf5 and unlike.json: how far each jet of a run's test split, and of other "
        "files, is from what was learned, in the features of the encoder; with the area under the curve for what is "
        "new to it",
    )
    drawing = parser.add_argument_group("jets of a network (docs/howto/jets_generate.md)")
    drawing.add_argument(
        "--draw",
        type=path_of,
        default=None,
        metavar="RUN",
        help="write only OUTPUT/drawn.hdf5: for each jet of the test split one that this training of "
        "configs/jets/generate.yaml draws for its class and pT, or one of configs/jets/superresolve.yaml completes",
    )
    drawing.add_argument("--class", dest="of_class", default=None, help="draw --events jets of this class instead")
    drawing.add_argument("--pt-gev", type=number(POSITIVE), default=None, help="of this transverse momentum")
    drawing.add_argument(
        "--compare",
        type=path_of,
        nargs=2,
        default=None,
        metavar=("DRAWN", "DATA"),
        help="write only OUTPUT/compared.json and print it: how far drawn jets are from simulated ones, and these from "
        "each other",
    )
    return parser


def main() -> int:
    """Run the command."""
    arguments = command_line().parse_args()
    arguments.output = arguments.output or _own_place(arguments)
    if arguments.draw is not None or arguments.compare is not None:
        return draw_only(arguments)
    if arguments.of_class is not None or arguments.pt_gev is not None:
        raise UserError("--class and --pt-gev are of drawn jets: give --draw RUN")
    if any(one is not None for one in (arguments.judge, arguments.trees, arguments.unlike)):
        return judge_only(arguments)
    sample = JetSample() if arguments.config is None else JetSample.from_yaml(Path(arguments.config))
    if arguments.seed is not None:
        sample = dataclasses.replace(sample, seed=arguments.seed)
    files = jet_files(sample, arguments.events, arguments.output, arguments.jets_per_file)
    mine = files if arguments.task is None else files[arguments.task[0] :: arguments.task[1]]
    print(expected(mine, arguments.workers), flush=True)
    write_jet_files(mine, arguments.workers, print)
    return 0


def _own_place(arguments: argparse.Namespace) -> Path:
    """Return where things are written unless it is said: drawn jets do not belong among those to train on."""
    if arguments.draw is not None:
        return Path(arguments.draw)
    return Path("data/jets") if arguments.compare is None else Path(arguments.compare[0]).parent


def judge_only(arguments: argparse.Namespace) -> int:
    """Write the table of the trees, the figures of all heads, or distances from what was learned."""
    from collider.jets.judging.report import judge
    from collider.jets.judging.sources import read_sources
    from collider.jets.judging.trees import tree_table
    from collider.jets.judging.unlike import write_unlike
    from collider.jets.learning.data import JetDataModule

    if arguments.trees is not None:
        table = tree_table(JetDataModule(str(arguments.trees), particles=1))
        print(f"{len(table)} jets of the test split told: {table.write(arguments.output / 'trees.hdf5')}")
    if arguments.judge is not None:
        print(judge([one for path in arguments.judge for one in read_sources(path)], arguments.output))
    if arguments.unlike is not None:
        print(write_unlike(arguments.unlike[0], arguments.unlike[1:], arguments.output))
    return 0


def draw_only(arguments: argparse.Namespace) -> int:
    """Write jets that a network draws, or compare files of jets."""
    from collider.jets.drawing import compare, draw, draw_of

    seed = arguments.seed or 0
    if (arguments.of_class is None) != (arguments.pt_gev is None):
        raise UserError("jets are drawn of a class and a pT: give both --class and --pt-gev, or neither")
    if arguments.draw is not None and arguments.of_class is not None:
        asked = (arguments.of_class, arguments.pt_gev, arguments.events)
        print(draw_of(arguments.draw, *asked, arguments.output, seed))
    elif arguments.draw is not None:
        print(draw(arguments.draw, arguments.output, seed))
    if arguments.compare is not None:
        drawn, simulated = arguments.compare
        print(compare(drawn, simulated, arguments.output, seed))
    return 0


def expected(files: list[JetFile], workers: int) -> str:
    """Return in words how long the files that are not there take, and how large they are."""
    jets = sum(file.stop - file.start for file in files if not file.path.exists())
    minutes = jets * SECONDS_A_JET / max(1, min(workers, len(files), available_cpus())) / 60
    return (
        f"{jets} jets to make: about {math.ceil(minutes)} min with {workers} "
        f"{'worker' if workers == 1 else 'workers'}, {math.ceil(jets * BYTES_A_JET / 1e6)} MB"
    )
