"""Fit the tritium endpoint and the neutrino mass to the reconstructed energies of a predictions table.

    python scripts/endpoint.py --data predictions_tritium.hdf5 --calibration predictions_test.hdf5

The calibration table holds simulated electrons of known energy that went through the same estimator (the test split):
from them the response, its regression to the prior and the efficiency of the quality cut are measured.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from cres import errors
from cres.endpoint import report
from cres.endpoint.analysis import Options, analyse
from cres.endpoint.likelihood import Physics
from cres.evaluation.table import PredictionTable
from cres.physics.beta import CORRECTIONS
from cres.physics.final_states import FinalStates
from cres.provenance import ancestry


def main() -> None:
    """Read the arguments and run what they ask for."""
    arguments = parser().parse_args()
    if arguments.data is None or arguments.calibration is None:
        raise errors.UserError(
            "name both tables: --data (tritium electrons) and --calibration (the test split of the same estimator); "
            "`python cli.py predict` and `python cli.py test` write them"
        )
    fit(arguments)


def fit(arguments: argparse.Namespace) -> None:
    """Fit a table and write numbers and figures."""
    data, calibration = PredictionTable.read(arguments.data), PredictionTable.read(arguments.calibration)
    result = analyse(data, calibration, options(arguments))
    facts = ancestry(vars(arguments), sources=[arguments.data, arguments.calibration])
    report.write_json({**result.to_dict(), **facts}, arguments.output / "endpoint.json")
    report.write_figures(report.figures(result, calibration), arguments.output)
    print("\n".join(report.summary_lines(result)))
    print(f"numbers and figures  {arguments.output}/")


def options(arguments: argparse.Namespace) -> Options:
    """Turn arguments into the options of the analysis."""
    states = None if arguments.final_states is None else FinalStates.read(arguments.final_states)
    return Options(
        window_ev=None if arguments.window is None else tuple(arguments.window),
        max_std_ev=arguments.max_std,
        physics=Physics(states, () if arguments.no_corrections else CORRECTIONS),
        energy_scale_std_ev=arguments.energy_scale_std,
        resolution_scale_std=arguments.resolution_scale_std,
        efficiency_slope_std=arguments.efficiency_slope_std,
        confidence=arguments.confidence,
    )


def parser() -> argparse.ArgumentParser:
    """Return the command line."""
    line = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = line.add_argument
    table: dict[str, Any] = {"type": Path, "metavar": "TABLE"}
    add("--data", **table, help="predictions of the tritium electrons (HDF5)")
    add("--calibration", **table, help="predictions of electrons of known energy, by the same estimator (HDF5)")
    add("--output", type=Path, default=Path("runs/endpoint"), help="folder to write to (%(default)s)")
    range_help = "fit window in eV (default: the calibration's range without its edges)"
    add("--window", type=float, nargs=2, metavar=("LOW", "HIGH"), help=range_help)
    cut_help = "leave out electrons that state more uncertainty (default: a sixth of the calibration's spread)"
    add("--max-std", type=float, metavar="EV", help=cut_help)
    states_help = "table of molecular final states: excitation in eV, probability[, bin width] (default: none)"
    add("--final-states", type=Path, metavar="FILE", help=states_help)
    add("--no-corrections", action="store_true", help="leave out the small corrections of the spectrum")
    scale_help = "uncertainty of the energy scale at the endpoint (%(default)s)"
    add("--energy-scale-std", type=float, default=0.0, metavar="EV", help=scale_help)
    resolution_help = "relative uncertainty of all resolutions (default: from the calibration's statistics)"
    add("--resolution-scale-std", type=float, metavar="FRACTION", help=resolution_help)
    slope_help = "uncertainty of the efficiency's slope per 100 eV (default: from the calibration's statistics)"
    add("--efficiency-slope-std", type=float, metavar="FRACTION", help=slope_help)
    add("--confidence", type=float, default=0.9, help="confidence level of the mass limit (%(default)s)")
    return line


if __name__ == "__main__":
    errors.run(main)
