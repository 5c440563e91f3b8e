"""What an ensemble of seeds gains: the checkpoints of several runs as one mixture, beside each of them.

    python benchmarks/ensembles.py --runs runs/standard/ablations/default_*
    python benchmarks/ensembles.py --runs RUN RUN RUN --bound runs/standard/bound.hdf5 --folder runs/ensembles

Reconstructs the test split of the first run's data with all checkpoints together (`--ckpt_path=[a,b,c]`; they are
calibrated together on the validation split), and prints the members' own tables and the ensemble's as Markdown, for
resolved electrons and for all. The runs need a predictions.hdf5 of the same test split each (`cli.py test`).
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

from cres import errors
from cres.errors import UserError
from reconstruction.command import Parser
from reconstruction.judging.measures.comparison import compare, summarise
from reconstruction.judging.report.summary import markdown
from reconstruction.judging.tables.table import PredictionTable

ROOT = Path(__file__).parents[1]


def parse_arguments() -> argparse.Namespace:
    parser = Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=Path, nargs="+", required=True, help="folders of the members' runs")
    parser.add_argument("--bound", type=Path, default=None, help="the bound of the same electrons")
    parser.add_argument("--folder", type=Path, default=Path("runs/ensembles"), help="for the ensemble's table")
    return parser.parse_args()


def main() -> None:
    """Reconstruct with all members together and compare."""
    arguments = parse_arguments()
    if len(arguments.runs) < 2:
        raise UserError("an ensemble needs two runs at least: name more after --runs")
    members = [path.resolve() for path in arguments.runs]
    tables = [PredictionTable.read(path / "predictions.hdf5").renamed(path.name) for path in members]
    together = arguments.folder.resolve() / "predictions.hdf5"
    checkpoints = ",".join(str(path / "checkpoints" / "best.ckpt") for path in members)
    command = ["cli.py", "test", f"--run={members[0]}", f"--ckpt_path=[{checkpoints}]", f"--predictions={together}"]
    subprocess.run([sys.executable, *command], cwd=ROOT, check=True)
    bound = None if arguments.bound is None else PredictionTable.read(arguments.bound)
    ensemble = PredictionTable.read(together).renamed(f"ensemble of {len(members)}")
    print(markdown(summarise(compare([*tables, ensemble], bound))))


if __name__ == "__main__":
    errors.run(main)
