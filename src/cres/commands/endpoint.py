"""Fit the tritium endpoint and the neutrino mass to the reconstructed energies of a predictions table.

    python scripts/endpoint.py --data predictions_tritium.hdf5 --calibration predictions_test.hdf5
    python scripts/endpoint.py --calibrate predictions_krypton.hdf5 --data predictions_tritium.hdf5 …
    python scripts/endpoint.py --toys 200          coverage of pseudo-experiments; run again to go on
    python scripts/endpoint.py --sensitivity       uncertainties against electrons, resolution, background

The calibration table holds simulated electrons of known energy that went through the same estimator (the test split):
from them the response, its regression to the prior and the efficiency of the quality cut are measured.
"""

from __future__ import annotations

import argparse
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

from cres import errors
from cres.command import Parser, number, task, whole
from cres.endpoint import plots, report
from cres.endpoint.analysis import Options, analyse
from cres.endpoint.coverage import run_toys, summarise
from cres.endpoint.krypton import Calibration, calibrate, read_lines
from cres.endpoint.likelihood import Physics
from cres.endpoint.pseudo import Experiment
from cres.endpoint.sensitivity import study
from cres.evaluation.splits import ALLOW_TRAINING, refuse_training
from cres.evaluation.table import PredictionTable
from cres.paths import expanded, path_of
from cres.physics.beta import CORRECTIONS
from cres.physics.final_states import FinalStates
from cres.physics.krypton import LINES
from cres.provenance import ancestry
from cres.ranges import NOT_NEGATIVE, POSITIVE, SEED, Allowed

CALIBRATED = "calibrated.hdf5"


def main() -> None:
    """Read the arguments and run what they ask for."""
    arguments = command_line().parse_args()
    if arguments.toys is not None:
        toys(arguments)
    elif arguments.sensitivity:
        sensitivity(arguments)
    elif arguments.calibrate is not None:
        scale = krypton(arguments)
        if arguments.data is not None and arguments.calibration is not None:
            fit(arguments, scale)
    elif arguments.data is None or arguments.calibration is None:
        raise errors.UserError(
            "name both tables: --data (tritium electrons) and --calibration (the test split of the same estimator); "
            "`python cli.py predict` and `python cli.py test` write them"
        )
    else:
        fit(arguments)


def fit(arguments: argparse.Namespace, scale: Calibration | None = None) -> None:
    """Fit a table, calibrated with krypton or as it is, and write numbers and figures."""
    data, calibration = PredictionTable.read(arguments.data), PredictionTable.read(arguments.calibration)
    chosen = options(arguments)
    if scale is not None:
        data = PredictionTable.read(arguments.output / CALIBRATED)
        chosen = replace(chosen, energy_scale_std_ev=scale.energy_error_ev(float(data.mean("energy_ev").mean())))
    result = analyse(data, calibration, chosen)
    facts = ancestry(vars(arguments), sources=[arguments.data, arguments.calibration])
    report.write_json({**result.to_dict(), **facts}, arguments.output / "endpoint.json")
    report.write_figures(report.figures(result, calibration), arguments.output)
    print("\n".join(report.summary_lines(result)))
    print(f"numbers and figures  {arguments.output}/")


def krypton(arguments: argparse.Namespace) -> Calibration:
    """Calibrate field and resolution with krypton lines, and apply that to the data table when it is given."""
    lines = LINES if arguments.lines is None else read_lines(arguments.lines)
    table = PredictionTable.read(arguments.calibrate)
    refuse_training(table, "used as calibration", arguments.allow_training)
    scale = calibrate(table, lines)
    facts = ancestry(vars(arguments), sources=[arguments.calibrate])
    report.write_json({**scale.to_dict(), **facts}, arguments.output / "calibration.json")
    print("\n".join(scale.summary()))
    if arguments.data is not None:
        path = scale.apply(PredictionTable.read(arguments.data)).write(arguments.output / CALIBRATED)
        print(f"calibrated table     {path}")
    return scale


def toys(arguments: argparse.Namespace) -> None:
    """Run the coverage study and print pulls and coverage."""
    experiment = Experiment(physics=options(arguments).physics)
    path = arguments.output / "toys.jsonl"
    part = arguments.task
    made = run_toys(experiment, arguments.toys, path, seed=arguments.seed, workers=arguments.workers, task=part)
    if part is not None:
        print(f"task {part[0]} of {part[1]}: {len(made)} pseudo-experiments; the same without --task sums all up")
        return
    result = summarise(made, experiment.endpoint_ev)
    report.write_json(vars(result), arguments.output / "coverage.json")
    report.write_figures({"coverage": plots.coverage_figure(made, experiment.endpoint_ev)}, arguments.output)
    print("\n".join(result.lines()))
    print(f"each of them         {path}")


def sensitivity(arguments: argparse.Namespace) -> None:
    """Run the sensitivity study and print its table."""
    points = study(Experiment(physics=options(arguments).physics), seed=arguments.seed)
    report.write_json({"points": [point.to_dict() for point in points]}, arguments.output / "sensitivity.json")
    report.write_figures({"sensitivity": plots.sensitivity_figure(points)}, arguments.output)
    print("\n".join(report.sensitivity_lines(points)))
    print(f"numbers and figures  {arguments.output}/")


def options(arguments: argparse.Namespace) -> Options:
    """Turn arguments into the options of the analysis."""
    states = None if arguments.final_states is None else FinalStates.of(arguments.final_states)
    return Options(
        window_ev=None if arguments.window is None else tuple(arguments.window),
        max_std_ev=arguments.max_std,
        max_spread_ev=arguments.max_spread,
        physics=Physics(states, () if arguments.no_corrections else CORRECTIONS),
        energy_scale_std_ev=arguments.energy_scale_std,
        resolution_scale_std=arguments.resolution_scale_std,
        efficiency_slope_std=arguments.efficiency_slope_std,
        confidence=arguments.confidence,
        allow_training=arguments.allow_training,
    )


def command_line() -> Parser:
    """Return the command line."""
    line = Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = line.add_argument
    table: dict[str, Any] = {"type": path_of, "metavar": "TABLE"}
    add("--data", **table, help="predictions of the tritium electrons (HDF5)")
    add("--calibration", **table, help="predictions of electrons of known energy, by the same estimator (HDF5)")
    add("--output", type=path_of, default=Path("runs/endpoint"), help="folder to write to (%(default)s)")
    range_help = "fit window in eV (default: the calibration's range without its edges)"
    add("--window", type=number(), nargs=2, metavar=("LOW", "HIGH"), help=range_help)
    cut_help = "leave out electrons that state more uncertainty (default: a sixth of the calibration energies' std)"
    add("--max-std", type=number(POSITIVE), metavar="EV", help=cut_help)
    spread_help = (
        "leave out electrons whose spread with all modes is larger (default: what lets the smallest error be expected "
        "on the calibration electrons)"
    )
    add("--max-spread", type=number(POSITIVE), metavar="EV", help=spread_help)
    states_help = "T2, T, or a table: excitation in eV, probability[, bin width] (default: none)"
    add("--final-states", type=expanded, metavar="STATES", help=states_help)
    add("--no-corrections", action="store_true", help="leave out the small corrections of the spectrum")
    scale_help = "uncertainty of the energy scale at the endpoint (%(default)s)"
    add(
        "--energy-scale-std",
        type=number(NOT_NEGATIVE),
        default=Options().energy_scale_std_ev,
        metavar="EV",
        help=scale_help,
    )
    resolution_help = "relative uncertainty of all resolutions (default: from the calibration's statistics)"
    add("--resolution-scale-std", type=number(NOT_NEGATIVE), metavar="FRACTION", help=resolution_help)
    slope_help = "uncertainty of the efficiency's slope per 100 eV (default: from the calibration's statistics)"
    add("--efficiency-slope-std", type=number(NOT_NEGATIVE), metavar="FRACTION", help=slope_help)
    add("--calibrate", **table, help="predictions of 83mKr electrons: measures the scales of energy and resolution")
    lines_help = "krypton lines: name, energy in eV, full width in eV[, intensity] (default: K to N of 32 keV)"
    add("--lines", type=path_of, metavar="FILE", help=lines_help)
    training_help = "calibrate with electrons too that the estimator was trained on (its errors on them are too small)"
    add(ALLOW_TRAINING, action="store_true", help=training_help)
    add("--toys", type=whole(), metavar="N", help="make and fit N pseudo-experiments")
    add("--task", type=task, metavar="I/N", help="make only each N-th of them, from I (array jobs)")
    add("--sensitivity", action="store_true", help="study the uncertainties that experiments reach")
    add("--workers", type=whole(), default=os.cpu_count() or 1, help="processes for --toys (%(default)s)")
    add("--seed", type=whole(SEED), default=0, help="seed of pseudo-experiments (%(default)s)")
    add(
        "--confidence",
        type=number(Allowed(0, 1, above=True, below=True)),
        default=Options().confidence,
        help="confidence level of the mass limit (%(default)s)",
    )
    return line
