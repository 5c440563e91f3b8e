"""Fit the tritium endpoint and the neutrino mass to the reconstructed energies of a predictions table.

    python scripts/endpoint.py --data predictions_tritium.hdf5 --calibration predictions_test.hdf5
    python scripts/endpoint.py --calibrate predictions_krypton.hdf5 --data predictions_tritium.hdf5 …
    python scripts/endpoint.py --data may.hdf5 june.hdf5 --calibration predictions_test.hdf5 --field-std 0.2
    python scripts/endpoint.py --data tritium.hdf5 --calibration test.hdf5 --samples samples.hdf5
    python scripts/endpoint.py --data … --blind secret.json     and in the end:
    python scripts/endpoint.py --lift runs/endpoint/endpoint.json --blind secret.json
    python scripts/endpoint.py --toys 200          coverage of pseudo-experiments; run again to go on
    python scripts/endpoint.py --sensitivity       uncertainties against electrons, resolution, background

The calibration table holds simulated electrons of known energy that went through the same estimator (the test split):
from them the response, its regression to the prior and the efficiency of the quality cut are measured.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from cres import errors
from cres.command import Parser, number, task, whole
from cres.endpoint import plots, report
from cres.endpoint.analysis import Analysis, Options, analyse, physics_of
from cres.endpoint.blinding import blinded, lifted
from cres.endpoint.coverage import run_toys, summarise
from cres.endpoint.joint import fit_together
from cres.endpoint.krypton import KryptonCalibration, calibrate, choose_lines, read_lines
from cres.endpoint.likelihood import Physics, read_nuisances
from cres.endpoint.limits import DEFAULT_TOYS
from cres.endpoint.pseudo import Experiment
from cres.endpoint.sensitivity import study
from cres.evaluation.weighted import WeightedSamples
from cres.paths import path_of, place_of
from cres.physics.beta import CORRECTIONS
from cres.physics.final_states import FinalStates
from cres.physics.krypton import LINES
from cres.provenance import ancestry
from cres.ranges import COUNT, POSITIVE, SEED, Allowed
from reconstruction.files import read_json
from reconstruction.judging.tables.splits import ALLOW_TRAINING, refuse_training
from reconstruction.judging.tables.table import PredictionTable
from reconstruction.judging.tables.table_csv import read_table
from reconstruction.workers import available_cpus

SCALE_STD_EV = Allowed(0, 1e4)
RELATIVE_STD = Allowed(0, 10)
"""Of a prior: what is wider tells the fit nothing more."""
CALIBRATED, RESULT, TOGETHER = "calibrated.hdf5", "endpoint.json", "together.json"


def main() -> None:
    """Read the arguments and run what they ask for."""
    arguments = command_line().parse_args()
    if arguments.toys is not None:
        toys(arguments)
    elif arguments.sensitivity:
        sensitivity(arguments)
    elif arguments.lift is not None:
        lift(arguments)
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


def fit(arguments: argparse.Namespace, scale: KryptonCalibration | None = None) -> None:
    """Fit tables, calibrated with krypton or as they are, and write numbers and figures; several of them together."""
    calibrations = [read_table(path) for path in arguments.calibration]
    if len(calibrations) not in (1, len(arguments.data)):
        raise errors.UserError(
            f"{len(arguments.data)} data tables and {len(calibrations)} calibration tables: name one for "
            "all, or one for each"
        )
    given = arguments.samples or []
    if given and (len(given) != len(arguments.data) or scale is not None):
        raise errors.UserError(
            "--samples wants a file of weighted samples for each data table"
            if scale is None
            else "weighted samples have the energies of their model: --calibrate does not move them, leave one out"
        )
    results = {}
    for index, path in enumerate(arguments.data):
        data = read_table(path)
        chosen = options(arguments, data)
        if scale is not None:
            data, chosen = scale.apply(data), with_krypton(chosen, scale, data)
            written = data.write(arguments.output / name_of(path, arguments.data, CALIBRATED))
            print(f"calibrated table     {written}")
        calibration = calibrations[min(index, len(calibrations) - 1)]
        samples = WeightedSamples.read(given[index]) if given else None
        result = analyse(data, calibration, chosen, samples)
        results[str(path)] = result
        facts = ancestry(vars(arguments), sources=[path, *arguments.calibration])
        content = {**result.to_dict(), "blinded": arguments.blind is not None, **facts}
        report.write_json(content, arguments.output / name_of(path, arguments.data, RESULT))
        drawn = report.figures(result, calibration)
        report.write_figures(drawn, arguments.output / (path.stem if len(arguments.data) > 1 else "."))
        print("\n".join(report.summary_lines(result)))
    if len(results) > 1:
        together(arguments, results)
    print(f"numbers and figures  {arguments.output}/")


def name_of(path: Path, paths: list[Path], name: str) -> str:
    """Return the name of a file of one data table: its own where there are several."""
    return name if len(paths) == 1 else f"{path.stem}-{name}"


def together(arguments: argparse.Namespace, results: dict[str, Analysis]) -> None:
    """Fit all data tables with one endpoint; each has its field, known to --field-std."""
    if arguments.field_std is None:
        raise errors.UserError("several data tables want --field-std: the uncertainty in eV of each one's energy scale")
    found = fit_together(
        {name: result.likelihood for name, result in results.items()},
        {name: result.fit for name, result in results.items()},
        dict.fromkeys(results, arguments.field_std),
    )
    report.write_json({**found.to_dict(), "blinded": arguments.blind is not None}, arguments.output / TOGETHER)
    print("\n".join(found.lines()))


def with_krypton(chosen: Options, scale: KryptonCalibration, data: PredictionTable) -> Options:
    """Return options with what krypton tells: errors of the energy scale and of the resolutions, missed tracks."""
    middle = float(np.nanmean(data.mean("energy_ev")))
    error = float(np.hypot(chosen.energy_scale_std_ev, scale.energy_error_ev(middle)))
    chosen = replace(chosen, energy_scale_std_ev=error, krypton_resolution_std=scale.resolution_scale_std)
    if scale.missed_fraction_error and chosen.physics is not None:
        stds = {**chosen.nuisance_stds, "missed_change": scale.missed_fraction_error}
        physics = replace(chosen.physics, missed_fraction=scale.missed_fraction)
        chosen = replace(chosen, physics=physics, nuisance_stds=stds)
    return chosen


def lift(arguments: argparse.Namespace) -> None:
    """Take the blinding offset off results that are written."""
    if arguments.blind is None:
        raise errors.UserError("--lift wants the file of the offset too: --blind FILE")
    for path in arguments.lift:
        found = lifted(read_json(path), arguments.blind)
        report.write_json(found, path)
        print(
            f"{path}: endpoint {found['endpoint_ev']:.3f} eV, the offset of {found['lifted_offset_ev']:+.3f} eV is off"
        )


def krypton(arguments: argparse.Namespace) -> KryptonCalibration:
    """Calibrate field and resolution with krypton lines, and apply that to the data table when it is given."""
    lines = LINES if arguments.lines is None else read_lines(arguments.lines)
    if arguments.use_lines is not None:
        lines = choose_lines(arguments.use_lines, lines)
    krypton_table = read_table(arguments.calibrate)
    refuse_training(krypton_table, "used as calibration", arguments.allow_training)
    scale = calibrate(krypton_table, lines, arguments.missed_tracks)
    facts = ancestry(vars(arguments), sources=[arguments.calibrate])
    report.write_json({**scale.to_dict(), **facts}, arguments.output / "calibration.json")
    print("\n".join(scale.summary()))
    if arguments.data is not None and arguments.calibration is None:
        for table in arguments.data:
            name = name_of(table, arguments.data, CALIBRATED)
            print(f"calibrated table     {scale.apply(read_table(table)).write(arguments.output / name)}")
    return scale


def toys(arguments: argparse.Namespace) -> None:
    """Run the coverage study and print pulls and coverage."""
    experiment = Experiment(physics=options(arguments).physics or Physics())
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
    points = study(Experiment(physics=options(arguments).physics or Physics()), seed=arguments.seed)
    report.write_json({"points": [point.to_dict() for point in points]}, arguments.output / "sensitivity.json")
    report.write_figures({"sensitivity": plots.sensitivity_figure(points)}, arguments.output)
    print("\n".join(report.sensitivity_lines(points)))
    print(f"numbers and figures  {arguments.output}/")


def options(arguments: argparse.Namespace, data: PredictionTable | None = None) -> Options:
    """Turn arguments into the options of the analysis of `data`, which may say what decay it is of."""
    corrections = () if arguments.no_corrections else CORRECTIONS
    physics = Physics(None, corrections)
    stds: dict[str, float] = {}
    correlations: dict[tuple[str, str], float] = {}
    if arguments.systematics is not None:
        stds, correlations = read_nuisances(arguments.systematics)
    if arguments.final_states is not None:
        physics = Physics(FinalStates.of(arguments.final_states), corrections)
    elif data is not None:
        physics = replace(physics_of(data), corrections=corrections)
    physics = replace(physics, missed_fraction=arguments.missed_fraction)
    if arguments.blind is not None:
        physics = blinded(physics, arguments.blind)
    return Options(
        window_ev=None if arguments.window is None else tuple(arguments.window),
        max_std_ev=arguments.max_std,
        max_spread_ev=arguments.max_spread,
        physics=physics,
        energy_scale_std_ev=arguments.energy_scale_std,
        resolution_scale_std=arguments.resolution_scale_std,
        efficiency_slope_std=arguments.efficiency_slope_std,
        confidence=arguments.confidence,
        mass_toys=arguments.mass_toys,
        allow_training=arguments.allow_training,
        nuisance_stds=stds,
        correlations=correlations,
    )


def command_line() -> Parser:
    """Return the command line."""
    line = Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = line.add_argument
    table: dict[str, Any] = {"type": path_of, "metavar": "TABLE"}
    add("--data", **table, nargs="+", help="predictions of the tritium electrons (HDF5, CSV); several: fitted together")
    known = "predictions of electrons of known energy, by the same estimator (HDF5, CSV); one, or one a data table"
    add("--calibration", **table, nargs="+", help=known)
    samples_help = (
        "weighted samples of each data table's electrons (scripts/posterior.py): the likelihood of an electron is the "
        "sum over them"
    )
    add("--samples", type=path_of, nargs="+", metavar="FILE", help=samples_help)
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
    states_help = (
        "T2, HT, DT, T, none, a table (excitation in eV, probability[, bin width] as text, .csv or .json) or a mixture "
        "such as 'T2:0.9, HT:0.1' (default: those the data's simulation used, T2 where the table does not say)"
    )
    add("--final-states", type=place_of, metavar="STATES", help=states_help)
    add("--no-corrections", action="store_true", help="leave out the small corrections of the spectrum")
    scale_help = "uncertainty of the energy scale at the endpoint (%(default)s)"
    add(
        "--energy-scale-std",
        type=number(SCALE_STD_EV),
        default=Options().energy_scale_std_ev,
        metavar="EV",
        help=scale_help,
    )
    resolution_help = "relative uncertainty of all resolutions (default: from the calibration's statistics)"
    add("--resolution-scale-std", type=number(RELATIVE_STD), metavar="FRACTION", help=resolution_help)
    slope_help = "uncertainty of the efficiency's slope per 100 eV (default: from the calibration's statistics)"
    add("--efficiency-slope-std", type=number(RELATIVE_STD), metavar="FRACTION", help=slope_help)
    systematics_help = "JSON: std of nuisance parameters by name, and correlations [[name, name, value], …]"
    add("--systematics", type=path_of, metavar="FILE", help=systematics_help)
    field_help = "uncertainty of each data table's own energy scale, when several are fitted together"
    add("--field-std", type=number(SCALE_STD_EV), metavar="EV", help=field_help)
    missed_help = "fraction of electrons whose first track was missed (%(default)s)"
    add("--missed-fraction", type=number(Allowed(0, 0.6)), default=0.0, metavar="F", help=missed_help)
    free_help = "with --calibrate: measure the fraction of missed tracks on the lines, and use it with its error"
    add("--missed-tracks", action="store_true", help=free_help)
    add(
        "--blind",
        type=path_of,
        metavar="FILE",
        help="add the secret offset of this file to the endpoint (or make it)",
    )
    add(
        "--lift",
        type=path_of,
        nargs="+",
        metavar="RESULT",
        help="take the offset of --blind off endpoint.json, and say it",
    )
    add("--calibrate", **table, help="predictions of 83mKr electrons: measures the scales of energy and resolution")
    lines_help = "krypton lines: name, energy in eV, full width in eV[, intensity] (default: K to N of 32 keV)"
    add("--lines", type=path_of, metavar="FILE", help=lines_help)
    use_help = "use only these lines, such as the narrow L2-32 L3-32, N2-32 N3-32 (default: all that have electrons)"
    add("--use-lines", nargs="+", metavar="NAME", help=use_help)
    training_help = "calibrate with electrons too that the estimator was trained on (its errors on them are too small)"
    add(ALLOW_TRAINING, action="store_true", help=training_help)
    add("--toys", type=whole(), metavar="N", help="make and fit N pseudo-experiments")
    add("--task", type=task, metavar="I/N", help="make only each N-th of them, from I (array jobs)")
    add("--sensitivity", action="store_true", help="study the uncertainties that experiments reach")
    add("--workers", type=whole(), default=available_cpus(), help="processes for --toys (%(default)s)")
    add("--seed", type=whole(SEED), default=0, help="seed of pseudo-experiments (%(default)s)")
    toys_help = "pseudo-experiments at each mass of the Neyman construction, 0 for none (%(default)s)"
    add("--mass-toys", type=whole(COUNT), default=DEFAULT_TOYS, metavar="N", help=toys_help)
    add(
        "--confidence",
        type=number(Allowed(0, 1, above=True, below=True)),
        default=Options().confidence,
        help="confidence level of the mass limit (%(default)s)",
    )
    return line
