"""Estimate electrons without a network and write a predictions table.

carrier         energy against the carrier frequency alone, a curve fitted on the training split
peaks           carrier and sidebands of the periodogram, inverted for the trap
matched-filter  best template of a bank; detection at a stated false-alarm probability
likelihood      maximum likelihood on the forward model, started from the bank's best templates
seeded          the same, started and confined by a network's predictions (--network), its answer where the fit fails
bound           the Cramér–Rao bound of each electron at its true parameters; --bound says what the radiated power is
                taken to be: tied to the strength of the signal, known, or free (docs/concepts/bound.md)
"""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path

from cres.command import Parser, number, whole
from cres.data.noise_spectrum import SEGMENT, measure_noise, table_for
from cres.data.records import open_records
from cres.estimation.bound.electrons import ALSO_FREE, BOUNDS, TIED
from cres.estimation.bound.maps import write_maps
from cres.estimation.methods.recordings import FRACTIONS, SPLITS
from cres.estimation.methods.registry import METHODS, run
from cres.estimation.methods.table import failures
from cres.estimation.methods.task import Task
from cres.estimation.placement import AUTO, device_name
from cres.estimation.search.efficiency_map import write_efficiency_map
from cres.estimation.search.matched_filter import FALSE_ALARM_PROBABILITY
from cres.paths import path_of, place_of
from cres.ranges import COUNT, NOISE_SCALE, SEED, SHARE, Allowed
from cres.resources import simulation_config
from cres.simulation.config import SimulationConfig
from cres.transforms.views import SIGNAL_BAND_HZ


class _Help(argparse.RawDescriptionHelpFormatter, argparse.ArgumentDefaultsHelpFormatter):
    """The table of methods as it is written, and defaults."""


def command_line() -> Parser:
    """Return the command line."""
    parser = Parser(
        description=__doc__,
        formatter_class=_Help,
        epilog="Next step: python scripts/evaluate.py TABLE… --output FOLDER",
    )
    parser.add_argument("--method", choices=list(METHODS), default="carrier", help="the estimator, see above")
    parser.add_argument(
        "--data", nargs="+", type=place_of, default=["data/cres.hdf5"], help="files, folders or globs of records"
    )
    parser.add_argument(
        "--output", type=path_of, default=None, help="the predictions table to write (default: predictions.hdf5)"
    )
    parser.add_argument("--split", choices=SPLITS, default="test", help="which electrons, split as the network's data")
    parser.add_argument("--first", type=whole(COUNT), default=0, help="electrons of the split to skip")
    parser.add_argument("--limit", type=whole(), default=None, help="at most so many electrons")
    parser.add_argument(
        "-c",
        "--config",
        type=path_of,
        default=None,
        help="apparatus: a YAML file, or the name of one in configs/simulation/; needed where the data do not name "
        "theirs (default: that of the data)",
    )
    parser.add_argument(
        "--noise-scale", type=number(NOISE_SCALE), default=1.0, help="noise power over nominal; 0: none is added"
    )
    parser.add_argument(
        "--noise-spectrum",
        type=place_of,
        default=None,
        help="CSV of frequency_hz (after mixing) and relative_power: the noise's spectrum over the nominal white one; "
        "white: none; default: DATA.noise.csv beside the data, where it is there",
    )
    parser.add_argument(
        "--measure-noise",
        action="store_true",
        help="write the spectrum of records without signal (to DATA.noise.csv, or --output), and stop",
    )
    parser.add_argument("--segment", type=whole(COUNT), default=SEGMENT, help="samples of a segment of this estimate")
    parser.add_argument(
        "--noise-seed", type=whole(SEED), default=0, help="seed of the frozen noise: that of the network"
    )
    parser.add_argument(
        "--split-seed", type=whole(SEED), default=0, help="seed of the split: that of the network's data"
    )
    parser.add_argument(
        "--fractions",
        type=number(SHARE),
        nargs=3,
        default=FRACTIONS,
        help="training, validation, test: as the network's data",
    )
    parser.add_argument(
        "--device",
        type=device_name,
        default=AUTO,
        help="cpu, cuda, cuda:NUMBER; auto: the GPU where torch can use one, else the processor",
    )
    parser.add_argument(
        "--training-electrons", type=whole(), default=4000, help="at most so many fit curves and spreads"
    )
    parser.add_argument(
        "--gain-std",
        type=number(Allowed(0, 1, below=True)),
        default=None,
        help="relative standard deviation of what is known of the power gain; 0: all; default: the apparatus's",
    )
    parser.add_argument("--network", type=place_of, default=None, help="predictions table that seeds the method seeded")
    parser.add_argument("--bound", choices=BOUNDS, default=TIED, help="of the method bound: the radiated loss")
    parser.add_argument(
        "--bound-free", choices=list(ALSO_FREE), nargs="+", default=[], help="of the method bound: free as well"
    )
    parser.add_argument(
        "--false-alarm-probability",
        type=number(Allowed(0, 1, above=True, below=True)),
        default=FALSE_ALARM_PROBABILITY,
        help="of a detection, a record",
    )
    parser.add_argument(
        "--maps",
        type=path_of,
        default=None,
        help="write maps of the bound (HDF5, PNG) into this folder and stop; no data",
    )
    parser.add_argument(
        "--efficiency-map",
        type=path_of,
        default=None,
        help="write the detection efficiency over radius and pitch angle (HDF5, PNG) to this folder and stop",
    )
    parser.add_argument(
        "--band-hz", type=number(), nargs=2, default=SIGNAL_BAND_HZ, help="where carriers are sought, after mixing"
    )
    return parser


def main() -> None:
    """Estimate and say what was written."""
    arguments = vars(command_line().parse_args())
    given, output, maps, efficiency = (arguments.pop(name) for name in ("config", "output", "maps", "efficiency_map"))
    if arguments["measure_noise"]:
        records = open_records(arguments["data"])
        table = output or table_for(records)
        count = measure_noise(records, table, arguments["segment"])
        print(f"spectrum of the noise of {count} records in {table}")
        return
    output = output or Path("predictions.hdf5")
    config = None if given is None else SimulationConfig.from_yaml(simulation_config(given))
    if maps is not None:
        print(*write_maps(config or SimulationConfig.default(), maps), sep="\n")
        return
    if efficiency is not None:
        scale, probability = arguments["noise_scale"], arguments["false_alarm_probability"]
        print(*write_efficiency_map(config or SimulationConfig.default(), efficiency, scale, probability), sep="\n")
        return
    for name in ("band_hz", "fractions", "bound_free"):
        arguments[name] = tuple(arguments[name])
    task = Task(**{field.name: arguments[field.name] for field in dataclasses.fields(Task)})
    table = run(task, config)
    table.write(output)
    failed = failures(table)
    print(f"{len(table)} electrons by {table.estimator} in {output}{f': {failed}' if failed else ''}")
