"""The endpoint at the end of the whole chain: simulated, with noise, reconstructed twice, fitted twice.

    python benchmarks/endpoint_chain.py --run runs/demo     after `make demo`; a quarter of an hour on one core
    python benchmarks/endpoint_chain.py --run runs/demo --fresh    reconstruct again

The run folder holds the tritium electrons (tritium.hdf5), whose endpoint the fit is not told, the training data with
its test split (cres.hdf5), and the network's predictions of both. The network-seeded likelihood reconstructs the same
electrons here; its tables stay in the run folder, so that an interrupted run goes on. The response of each estimator
is measured on the test split.

Target: both endpoints within 2.5 standard deviations of the true one.
"""

from __future__ import annotations

import argparse
import os
import platform
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from cres import errors
from cres.endpoint.analysis import Analysis, Options, analyse
from cres.physics.beta import T2_ENDPOINT_EV
from cres.provenance import git_commit
from reconstruction.command import Parser
from reconstruction.judging.tables.table import PredictionTable

ROOT = Path(__file__).parents[1]
LARGEST_DEVIATION = 2.5


@dataclass(frozen=True)
class Part:
    """Electrons of one file: records, the network's predictions, the seeded likelihood's predictions."""

    data: Path
    split: str
    network: Path
    seeded: Path

    def reconstruct(self, fresh: bool) -> None:
        """Run the seeded likelihood unless its table is there and newer than the network's."""
        for path in (self.data, self.network):
            if not path.exists():
                raise errors.UserError(f"{path} does not exist: `make demo` makes it")
        if not fresh and self.seeded.exists() and self.seeded.stat().st_mtime > self.network.stat().st_mtime:
            print(f"kept                 {self.seeded}", flush=True)
            return
        command = [sys.executable, ROOT / "scripts" / "estimate.py", "--method", "seeded", "--data", self.data]
        command += ["--split", self.split, "--network", self.network, "--output", self.seeded]
        subprocess.run(command, check=True)


def main() -> None:
    line = Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    line.add_argument("--run", type=Path, default=Path("runs/demo"), help="folder of `make demo` (%(default)s)")
    line.add_argument("--output", type=Path, help="folder for the tables of the seeded likelihood (the run's)")
    line.add_argument("--fresh", action="store_true", help="reconstruct again what is there")
    arguments = line.parse_args()
    run, output = arguments.run, arguments.output or arguments.run
    print(f"environment          {platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}, "
          f"load {os.getloadavg()[0]:.1f}, commit {git_commit()[:12]}")  # fmt: skip
    parts = {
        "calibration": Part(run / "cres.hdf5", "test", run / "predictions.hdf5", output / "seeded.hdf5"),
        "tritium": Part(run / "tritium.hdf5", "all", run / "tritium_predictions.hdf5", output / "tritium_seeded.hdf5"),
    }
    output.mkdir(parents=True, exist_ok=True)
    for part in parts.values():
        part.reconstruct(arguments.fresh)
    for name in ("network", "seeded"):
        tables = [PredictionTable.read(getattr(parts[part], name)) for part in ("tritium", "calibration")]
        report(analyse(*tables, Options(limit=False)))


def report(analysis: Analysis) -> None:
    """Print a fit beside the one of the true energies, and whether it is where it should be."""
    fit, ideal, response = analysis.fit, analysis.true_fit, analysis.response
    if analysis.true_endpoint_ev is None or analysis.deviation is None or ideal is None:
        raise errors.UserError("the tritium table knows no true endpoint: simulate it with scripts/simulate.py")
    good = fit.valid and abs(analysis.deviation) < LARGEST_DEVIATION
    away = analysis.true_endpoint_ev - T2_ENDPOINT_EV
    spread = f", spread ≤ {response.max_spread_ev:.2g} eV" if response.max_spread_ev < 1e9 else ""
    ratio = fit.endpoint_error_ev / ideal.endpoint_error_ev
    print(f"\n{analysis.estimator}")
    print(f"electrons            {fit.electrons}; chosen on the calibration: σ ≤ {response.max_std_ev:.2g} eV{spread}")
    print(f"endpoint             {fit.endpoint_ev:.3f} ± {fit.endpoint_error_ev:.3f} (stat) "
          f"± {analysis.systematic_ev:.3f} (syst) eV, goodness of fit p = {analysis.goodness[2]:.2f}")  # fmt: skip
    print(f"from true energies   {ideal.endpoint_ev:.3f} ± {ideal.endpoint_error_ev:.3f} eV of {ideal.electrons} "
          f"electrons; ratio of uncertainties {ratio:.3f}")  # fmt: skip
    print(f"true endpoint        {analysis.true_endpoint_ev:.3f} eV, {away:+.2f} eV from what the fit's defaults know")
    print(f"deviation            {analysis.deviation:+.2f} σ, within {LARGEST_DEVIATION} "
          f"{'pass' if good else 'MISSED'}")  # fmt: skip


if __name__ == "__main__":
    errors.run(main)
