"""Make a trained model part of the package: weights and cards in src/cres/pretrained/NAME, for cres.pretrained(NAME).

python cli.py test --run=runs/model                        # its figures go into the card
python scripts/package_model.py --run runs/model --name cavity_26ghz_modes
"""

from __future__ import annotations

import argparse
from pathlib import Path

from cres import errors
from cres.command import Parser, plain_name
from cres.paths import path_of
from cres.training.package import write_package
from reconstruction.training.learning.checkpoints import BEST

PRETRAINED = Path(__file__).parents[1] / "src" / "cres" / "pretrained"


def command_line() -> Parser:
    """Return the command line."""
    parser = Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", type=path_of, required=True, help="folder of the run whose best checkpoint is taken")
    parser.add_argument("--checkpoint", type=path_of, help="another checkpoint of the run than its best")
    parser.add_argument("--name", type=plain_name, default="cavity_26ghz_modes", help="what cres.pretrained calls it")
    parser.add_argument(
        "--folder", type=path_of, default=PRETRAINED, help="where models lie (default: src/cres/pretrained)"
    )
    return parser


def main() -> None:
    """Write the files and say where they are."""
    arguments = command_line().parse_args()
    checkpoint = arguments.checkpoint or arguments.run / "checkpoints" / BEST
    if not checkpoint.exists():
        raise errors.UserError(f"there is no {checkpoint}; train with python cli.py fit, or name another --checkpoint")
    folder = write_package(checkpoint, arguments.folder / arguments.name)
    size = sum(path.stat().st_size for path in folder.iterdir())
    print(f"{folder}: {size / 1e3:.0f} kB; try it: python -c 'import cres; print(cres.pretrained({arguments.name!r}))'")


if __name__ == "__main__":
    errors.run(main)
