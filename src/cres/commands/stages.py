"""A training in stages: each apparatus alone from one initialisation, the average of their weights, all together.

The file names a configuration and the stages; configs/stages/wall_and_noise.yaml is one. What is finished is not done
again, and what was interrupted goes on, with the same command.

Examples:
  python scripts/stages.py configs/stages/wall_and_noise.yaml
  python scripts/stages.py configs/stages/wall_and_noise.yaml --run=runs/plane --data.batch_size=64
  sbatch --array=0-11 submit.sh scripts/stages.py configs/stages/wall_and_noise.yaml --stage apart --task {task}/{tasks}

"""

from __future__ import annotations

import argparse
from pathlib import Path

from cres.command import Parser, task
from cres.paths import path_of


def main() -> int:
    """Run the stages."""
    arguments, others = command_line().parse_known_args()
    from reconstruction.training.stages.plan import read_plan
    from reconstruction.training.stages.run import Stages  # torch and Lightning

    plan = read_plan(arguments.file)
    folder = arguments.run or Path("runs") / plan.name
    return Stages(plan, folder, others, arguments.task or (0, 1)).run(arguments.stage)


def command_line() -> Parser:
    """Return the command line."""
    parser = Parser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="Further options are those of `python cli.py fit`, and go to every training.",
    )
    parser.add_argument("file", type=path_of, metavar="FILE", help="file of stages (YAML)")
    parser.add_argument("--run", type=path_of, metavar="FOLDER", help="folder of the runs (default: runs/NAME)")
    parser.add_argument("--stage", metavar="NAME", help="this stage alone")
    parser.add_argument(
        "--task",
        type=task,
        metavar="I/N",
        help="with --stage: each N-th of its trainings, from I (array jobs)",
    )
    return parser
