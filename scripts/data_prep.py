"""Prepare pickled electrons (.pkl.gz) as one HDF5 file for training and evaluation."""

from __future__ import annotations

import argparse

from cres import errors
from cres.data.prepare import prepare
from cres.data.workers import available_cpus


def parse_arguments() -> argparse.Namespace:
    """Return the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--input", nargs="+", default=["data/raw/*.pkl.gz"], help="files, folders or globs of pickles")
    parser.add_argument("--output", default="data/cres.hdf5", help="the HDF5 file to write")
    parser.add_argument("--workers", type=int, default=available_cpus(), help="processes that read files")
    return parser.parse_args()


def main() -> None:
    """Prepare and say what was written."""
    arguments = parse_arguments()
    result = prepare(arguments.input, arguments.output, workers=arguments.workers)
    print(f"{result.rows} electrons in {arguments.output}")


if __name__ == "__main__":
    errors.run(main)
