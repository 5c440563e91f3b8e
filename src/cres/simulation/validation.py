"""The validation as a command: every check's number, tolerance and verdict as JSON and as one HTML page."""

from __future__ import annotations

import base64
import dataclasses
import html
import io
import json
from collections.abc import Callable
from pathlib import Path

import matplotlib.pyplot as plt

from cres.errors import UserError
from cres.progress import track
from cres.provenance import ancestry
from cres.simulation.checks import CHECKS, Check
from cres.simulation.checks_modes import MODE_CHECKS
from cres.simulation.checks_tracks import TRACK_CHECKS
from cres.simulation.config import SimulationConfig
from cres.simulation.pieces import PIECE_SAMPLES
from reconstruction.files import write_whole

REPORT = "validation_report.json"
PAGE = "validation_report.html"
ALL = (*CHECKS, *TRACK_CHECKS, *MODE_CHECKS)


def run_checks(expected: SimulationConfig, simulated: SimulationConfig | None = None) -> list[Check]:
    """Run all checks; `simulated` is what the records are made with, `expected` what the formulae take."""
    made = simulated or expected
    return [_run(check, _short(expected), _short(made)) for check in track(ALL, "validating", len(ALL), "checks")]


def _run(check: Callable[..., Check], expected: SimulationConfig, simulated: SimulationConfig) -> Check:
    """Run a check; those of one mode's formulae see the first mode alone, at the antinode of its port."""
    if check in MODE_CHECKS:
        return check(expected, simulated)
    return check(_first_mode(expected), _first_mode(simulated))


def _first_mode(config: SimulationConfig) -> SimulationConfig:
    cavity = dataclasses.replace(config.cavity, modes=(), ports=())
    return dataclasses.replace(config, cavity=cavity, more_channels=())


def _short(config: SimulationConfig) -> SimulationConfig:
    """Return the apparatus without its receiver, records of one piece; the checks of long tracks make theirs."""
    samples = min(config.readout.samples, PIECE_SAMPLES)
    return dataclasses.replace(config, readout=dataclasses.replace(config.readout, samples=samples), receiver=())


def validate(config: SimulationConfig, output_dir: Path) -> bool:
    """Write validation_report.json and .html; return whether all checks passed.

    The checks describe the closed-form traps, in which a centred 90° electron stays in place. Raises UserError for
    another trap.
    """
    if config.trap.kind not in ("bathtub", "harmonic"):
        raise UserError("the validation needs a closed-form trap: choose a configuration with trap.kind bathtub")
    checks = run_checks(config)
    rows = [
        {
            "name": check.name,
            "meaning": check.meaning,
            "deviation": check.deviation,
            "tolerance": check.tolerance,
            "passed": check.passed,
        }
        for check in checks
    ]
    passed = all(check.passed for check in checks)
    report = {"passed": passed, "checks": rows, **ancestry(config.to_dict(), config.seed)}
    try:
        output_dir.mkdir(parents=True, exist_ok=True)
        write_whole(output_dir / REPORT, (json.dumps(report, indent=2) + "\n").encode())
        write_whole(output_dir / PAGE, _page(checks, passed).encode())
    except OSError as error:
        raise UserError(f"{output_dir} cannot be written ({error.strerror}): choose another --output") from error
    return passed


def _page(checks: list[Check], passed: bool) -> str:
    rows = "".join(
        f"<tr class={'pass' if c.passed else 'fail'}><td>{html.escape(c.name)}</td><td>{c.deviation:.3g}</td>"
        f"<td>{c.tolerance:g}</td><td>{'passed' if c.passed else 'FAILED'}</td><td>{html.escape(c.meaning)}</td></tr>"
        for c in checks
    )
    figures = "".join(
        f"<figure><img alt='{html.escape(c.name)}' src='data:image/png;base64,{_picture(c)}'>"
        f"<figcaption>{html.escape(c.name)}</figcaption></figure>"
        for c in checks
    )
    verdict = "All checks passed." if passed else "Some checks FAILED."
    return (
        "<!doctype html><html lang=en><meta charset=utf-8><title>Validation of the simulation</title>"
        "<style>body{font:16px system-ui;max-width:70rem;margin:2rem auto;padding:0 1rem}td,th{padding:.3rem .8rem;"
        "text-align:left}.fail{background:#fdd}figure{display:inline-block;margin:.5rem}img{max-width:32rem}</style>"
        f"<h1>Validation of the simulation</h1><p>{verdict}</p>"
        "<table><tr><th>check<th>deviation<th>tolerance<th>verdict<th>measure</tr>"
        f"{rows}</table>{figures}</html>"
    )


def _picture(check: Check) -> str:
    figure, axes = plt.subplots(figsize=(5.6, 3.6), layout="constrained")
    for index, (label, x, y) in enumerate(check.curves):
        axes.plot(x, y, "o" if index == 0 else "-", label=label, markersize=4)
    axes.set(xlabel=check.axes[0], ylabel=check.axes[1], title=check.name)
    axes.legend()
    stream = io.BytesIO()
    figure.savefig(stream, dpi=110)
    plt.close(figure)
    return base64.b64encode(stream.getvalue()).decode()
