"""Endpoint benchmark: coverage of pseudo-experiments, gain of per-electron uncertainties, Phase II, speeds.

    python benchmarks/endpoint.py                 1 000 pseudo-experiments, some minutes on two cores
    python benchmarks/endpoint.py --toys 100      a quick look
    python benchmarks/endpoint.py --final-states T2 --electrons 709 --window 64 60     molecular tritium, as in a demo
    python benchmarks/endpoint.py --final-states T2 --electrons 20 --window 70 60 --own-only     few electrons

Without --final-states the decay leaves one final state; --own-only leaves out the fits with a common resolution.
--interval-toys makes each interval rest on so many pseudo-experiments, which also tell the bias of its endpoint: by
default 400 for fewer than 200 electrons and none for more.

    python benchmarks/endpoint.py --onset 100 400 1600 6400     sharp electrons: why the best endpoint is low

Limits on the neutrino mass have a study of their own, scripts/mass_coverage.py.

Targets: endpoint pull mean within 0.1 and width 0.93 to 1.07, 68 % intervals cover 68 ± 5 %, a fit under 2 s, endpoint
uncertainty of an exposure like the published Phase II within a factor 1.5 of 19 eV, a million energies a second.
"""

from __future__ import annotations

import argparse
import os
import platform
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from cres.endpoint.coverage import Coverage, run_toys, summarise
from cres.endpoint.fit import fit_endpoint
from cres.endpoint.likelihood import EndpointLikelihood, FitWindow, Physics
from cres.endpoint.pseudo import Experiment
from cres.physics.beta import T2_ENDPOINT_EV, beta_spectrum_rate
from cres.physics.final_states import FinalStates
from cres.provenance import git_commit
from reconstruction.command import Parser

PUBLISHED_PHASE_TWO_EV = 19.0  # Phys. Rev. Lett. 131 102502: 18 548 ± 19 eV, frequentist


def main() -> None:
    line = Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    line.add_argument("--toys", type=int, default=1000, help="pseudo-experiments (%(default)s)")
    line.add_argument("--workers", type=int, default=os.cpu_count() or 1, help="processes (%(default)s)")
    line.add_argument("--seed", type=int, default=0)
    line.add_argument("--final-states", default="none", help="T2, T, none or a table (%(default)s)")
    line.add_argument("--electrons", type=float, default=5000.0, help="mean number in the window (%(default)s)")
    line.add_argument("--window", type=float, nargs=2, default=(15.0, 30.0), help="eV below and above the endpoint")
    line.add_argument("--own-only", action="store_true", help="no fits with one resolution for all electrons")
    line.add_argument("--interval-toys", type=int, help="pseudo-experiments of each interval (by number of electrons)")
    line.add_argument("--onset", type=int, nargs="+", help="sharp electrons of a quadratic onset, nothing else")
    line.add_argument("--output", type=Path, help="JSON-lines file to keep and resume (a temporary one)")
    arguments = line.parse_args()
    print(f"environment          {platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}, ")
    print(f"                     load {os.getloadavg()[0]:.1f}, commit {git_commit()[:12]}")
    if arguments.onset:
        for electrons in arguments.onset:
            onset(electrons, arguments.toys, arguments.seed)
        return
    spectrum_speed()
    phase_two()
    with tempfile.TemporaryDirectory() as folder:
        coverage(arguments, arguments.output or Path(folder) / "toys.jsonl")


def spectrum_speed() -> None:
    energies = np.linspace(T2_ENDPOINT_EV - 200, T2_ENDPOINT_EV, 1_000_000)
    start = time.process_time()
    beta_spectrum_rate(energies, T2_ENDPOINT_EV, 0.2)
    seconds = time.process_time() - start
    print(
        f"spectrum             {1e-6 / seconds * len(energies):.2f} million energies a second of CPU, all corrections"
    )


def phase_two() -> None:
    experiment = Experiment.like_phase_two()
    energy, std, _ = experiment.generate(np.random.default_rng(2))
    response = experiment.response()
    fit = fit_endpoint(EndpointLikelihood(energy, std, response, experiment.window, experiment.physics))
    ratio = fit.endpoint_error_ev / PUBLISHED_PHASE_TWO_EV
    print(f"Phase II exposure    ± {fit.endpoint_error_ev:.1f} eV; published ± {PUBLISHED_PHASE_TWO_EV:.0f} eV; "
          f"ratio {ratio:.2f} {verdict(1 / 1.5 < ratio < 1.5)}")  # fmt: skip
    print("                     left out: tail of missed scatters, efficiency against frequency, field uncertainty")


def onset(electrons: int, toys: int, seed: int) -> None:
    """Print pull and coverage of sharp electrons, density 3x²/D³ below the endpoint, no background.

    ln L(E₀) = Σ 2 ln(E₀ − K_i) − 3N ln(E₀ − K_low): no resolution, no table and no minimiser stands between the
    likelihood and its bias. Depths are in units of D, the true endpoint at 0.
    """
    depth = np.random.default_rng([seed, electrons]).random((toys, electrons)) ** (1 / 3)

    def log_likelihood(endpoint: np.ndarray) -> np.ndarray:
        return 2 * np.log(endpoint[:, None] + depth).sum(axis=1) - 3 * electrons * np.log1p(endpoint)

    nearest = -depth.min(axis=1)
    reach = 8 / np.sqrt(3 * electrons)
    best = bisect(
        lambda e: (2 / (e[:, None] + depth)).sum(axis=1) < 3 * electrons / (1 + e),
        nearest,
        np.full(toys, reach),
    )
    top = log_likelihood(best)
    high = bisect(lambda e: 2 * (top - log_likelihood(e)) > 1, best, np.full(toys, 2 * reach))
    low = bisect(lambda e: 2 * (top - log_likelihood(e)) < 1, nearest, best)
    pull = best / np.where(best > 0, best - low, high - best)
    inside = float(np.mean((low < 0) & (high > 0)))
    mean, width = pull.mean(), pull.std()
    print(
        f"onset, {electrons:5d} electrons  pull mean {mean:+.3f} ± {width / np.sqrt(toys):.3f}, width {width:.3f} ± "
        f"{width / np.sqrt(2 * toys):.3f}, median {np.median(pull):+.3f}; 68 % intervals hold {inside:.1%}, "
        f"{np.mean(high < 0):.1%} end below the truth, {np.mean(low > 0):.1%} begin above"
    )


def bisect(beyond: Callable[[np.ndarray], np.ndarray], low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """Return for each toy where `beyond` turns from false to true."""
    for _ in range(40):
        middle = 0.5 * (low + high)
        passed = beyond(middle)
        low, high = np.where(passed, low, middle), np.where(passed, middle, high)
    return 0.5 * (low + high)


def coverage(arguments: argparse.Namespace, path: Path) -> None:
    window = FitWindow(T2_ENDPOINT_EV - arguments.window[0], T2_ENDPOINT_EV + arguments.window[1])
    physics = Physics(FinalStates.of(arguments.final_states))
    experiment = Experiment(electrons=arguments.electrons, window=window, physics=physics)
    print(f"pseudo-experiments   {experiment.electrons:.0f} electrons, resolution {experiment.std_low_ev} to "
          f"{experiment.std_high_ev} eV, {window.low_ev:.1f} to {window.high_ev:.1f} eV")  # fmt: skip
    toys = run_toys(
        experiment,
        arguments.toys,
        path,
        seed=arguments.seed,
        workers=arguments.workers,
        common=not arguments.own_only,
        interval_toys=arguments.interval_toys,
    )
    result = summarise(toys, experiment.endpoint_ev)
    print("\n".join(result.lines()))
    judge(result)


def judge(result: Coverage) -> None:
    print(f"pull mean within 0.1          {verdict(abs(result.pull_mean) < 0.1)}")
    print(f"pull width 0.93 to 1.07       {verdict(0.93 < result.pull_width < 1.07)}")
    print(f"68 % intervals cover 68 ± 5 % {verdict(abs(result.inside - 0.6827) < 0.05)}")
    print(f"a fit under 2 s               {verdict(result.seconds_per_fit < 2)}")
    if result.gain is not None:
        print(f"own uncertainties are better  {verdict(result.gain > 1)}")


def verdict(good: bool) -> str:
    return "pass" if good else "MISSED"


if __name__ == "__main__":
    main()
