"""Prepare electrons for training: pickles and egg files to HDF5; join HDF5 files (--merge); verify them (--check).

Killed at any moment, the same command finishes the work: what was read already waits in a hidden folder beside the
output. Pickles are read without running anything that is in them.

On a cluster, read the files in an array job, then join them with the same command without --task:

    #SBATCH --array=0-15
    srun python scripts/data_prep.py --input raw/ --output cres.hdf5 --task $SLURM_ARRAY_TASK_ID/16
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from cres.command import Parser, number, task, whole
from cres.data.settings import COMPRESSIONS, MAX_EXPANSION, QUADRATURES, Assembly, StagingSettings
from cres.data.workers import PRELOAD
from cres.paths import place_of
from cres.ranges import COUNT, POSITIVE
from reconstruction.workers import available_cpus, start_early

if TYPE_CHECKING:
    from cres.data.prepare.preparation import PreparationResult


class HelpFormatter(argparse.ArgumentDefaultsHelpFormatter, argparse.RawDescriptionHelpFormatter):
    """Defaults are shown, the description keeps its lines."""


def command_line() -> Parser:
    """Return the command line."""
    parser = Parser(description=__doc__, formatter_class=HelpFormatter)
    parser.add_argument(
        "--input",
        nargs="+",
        type=place_of,
        default=["data/raw/*.pkl.gz"],
        help="files, folders or globs: pickles (.pkl, .pkl.gz, .xz, .bz2, .zip) and egg files (.egg)",
    )
    parser.add_argument("--output", type=place_of, default="data/cres.hdf5", help="the HDF5 file to write")
    parser.add_argument("--workers", type=whole(), default=available_cpus(), help="processes that read files")
    other = parser.add_mutually_exclusive_group()
    other.add_argument(
        "--merge", nargs="+", type=place_of, metavar="HDF5", help="join these HDF5 files instead of reading pickles"
    )
    other.add_argument(
        "--check", nargs="+", type=place_of, metavar="HDF5", help="verify these HDF5 files and describe their columns"
    )
    other.add_argument("--task", type=task, metavar="I/N", help="read only each N-th file, from I (array jobs)")
    bad = parser.add_argument_group("bad input")
    bad.add_argument(
        "--skip-bad",
        action="store_true",
        help="leave bad files, bad rows and repeated electrons out, and list them in OUTPUT.skipped.txt",
    )
    bad.add_argument(
        "--new-event-ids", action="store_true", help="number the events anew, by their content (ids that repeat)"
    )
    bad.add_argument(
        "--max-expansion",
        type=number(POSITIVE),
        default=MAX_EXPANSION,
        help="how many times its size a file may unpack to",
    )
    series = parser.add_argument_group("what the series are")
    series.add_argument(
        "--sampling-rate-hz", type=number(POSITIVE), help="of the records, where the files do not say it"
    )
    series.add_argument("--lo-frequency-hz", type=number(POSITIVE), help="of the mixer, where the files do not say it")
    series.add_argument("--volts-per-count", type=number(POSITIVE), help="of files that hold ADC counts for volts")
    series.add_argument("--exchange-iq", action="store_true", help="take Q for I and I for Q")
    series.add_argument(
        "--window-samples",
        type=whole(),
        help="egg files: samples of a window (default: those of a record, 8192 at most)",
    )
    series.add_argument(
        "--quadrature",
        choices=QUADRATURES,
        default="analytic",
        help="egg files of real samples: each channel's analytic signal, or pairs of channels as I and Q",
    )
    layout = parser.add_argument_group("output")
    layout.add_argument(
        "--shard-rows",
        type=whole(COUNT),
        metavar="N",
        help="write shards of N rows and an index (0: one shard a source)",
    )
    layout.add_argument("--plain", action="store_true", help="contiguous columns without attributes, for other readers")
    layout.add_argument("--compression", choices=COMPRESSIONS, default="none", help="smaller files, slower training")
    return parser


def main() -> None:
    """Do what the command line asks, and say what was written."""
    arguments = command_line().parse_args()
    if arguments.workers > 1 and not arguments.check:
        start_early(PRELOAD)
    # only now: what follows imports for longer than the command line takes to read
    from cres.data.prepare.checking import check
    from cres.data.prepare.merging import merge
    from cres.data.prepare.preparation import prepare

    if arguments.check:
        print(check(arguments.check))
    elif arguments.merge:
        assembly = _assembly(arguments)
        _tell(
            merge(
                arguments.merge,
                arguments.output,
                workers=arguments.workers,
                assembly=assembly,
                skip_bad=arguments.skip_bad,
                exchange_iq=arguments.exchange_iq,
            )
        )
    elif arguments.task:
        _read_task(arguments)
    else:
        settings, assembly = _settings(arguments), _assembly(arguments)
        _tell(
            prepare(arguments.input, arguments.output, workers=arguments.workers, settings=settings, assembly=assembly)
        )


def _read_task(arguments: argparse.Namespace) -> None:
    from cres.data.prepare.preparation import stage_task

    number, tasks = arguments.task
    rows = stage_task(
        arguments.input,
        arguments.output,
        task=number,
        tasks=tasks,
        workers=arguments.workers,
        settings=_settings(arguments),
    )
    print(f"task {number} of {tasks}: {rows} electrons read; the same command without --task joins all")


def _settings(arguments: argparse.Namespace) -> StagingSettings:
    names = [field.name for field in dataclasses.fields(StagingSettings)]
    return StagingSettings(**{name: getattr(arguments, name) for name in names})


def _assembly(arguments: argparse.Namespace) -> Assembly:
    return Assembly(
        arguments.shard_rows,
        arguments.plain,
        arguments.compression,
        arguments.sampling_rate_hz,
        arguments.lo_frequency_hz,
    )


def _tell(result: PreparationResult) -> None:
    if result.skipped:
        print(f"left out {len(result.skipped)} files or rows, listed in {result.report}:")
        _tell_some(result.skipped)
    for sentence in result.notes:
        print(f"note: {sentence}", file=sys.stderr)
    for sentence in result.contradictions:
        print(f"warning: {sentence}", file=sys.stderr)
    print(f"{result.rows} electrons in {result.outputs[-1]}")


def _tell_some(sentences: Sequence[str], most: int = 5) -> None:
    for sentence in sentences[:most]:
        print(f"  {sentence}")
    if len(sentences) > most:
        print(f"  and {len(sentences) - most} more")
