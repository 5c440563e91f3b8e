"""The validation report: one HTML file that works offline, and the same figures as JSON."""

from __future__ import annotations

import base64
import json
from html import escape
from pathlib import Path
from typing import Final

import collider
from collider.showers.checks import LEVEL, Check
from collider.showers.pictures import fluctuation_picture, maximum_picture, profile_picture, radius_picture
from collider.showers.validation import Validation
from reconstruction.files import write_whole
from reconstruction.provenance import ancestry, git_commit

PAGE: Final = "validation_report.html"
DATA: Final = "validation_report.json"
TITLE: Final = "Are these showers right?"

_STYLE: Final = """
body { font: 16px/1.55 system-ui, "Segoe UI", Roboto, "DejaVu Sans", sans-serif; color: #1d2733; margin: 0 auto;
  max-width: 1100px; padding: 1.5rem 1rem 3rem; }
h1 { font-size: clamp(1.5rem, 4vw, 2rem); margin: 0 0 .3rem; } h2 { font-size: 1.3rem; margin: 2.4rem 0 .6rem; }
p, figcaption { max-width: 75ch; } .soft, figcaption { color: #5a6675; }
.badge { border: 1px solid; border-radius: 99px; padding: 0 .6rem; font-weight: 600; font-size: .85rem; }
.yes { color: #00734f; background: #e9f7f1; } .no { color: #b34700; background: #fdf0e7; }
.scroll { overflow-x: auto; border: 1px solid #dfe4ea; border-radius: 8px; }
table { border-collapse: collapse; width: 100%; font-size: .84rem; font-variant-numeric: tabular-nums; }
th, td { padding: .4rem .55rem; text-align: right; border-bottom: 1px solid #dfe4ea; white-space: nowrap; }
th:first-child, td:first-child, td:last-child, th:last-child { text-align: left; white-space: normal; }
thead th { border-bottom: 2px solid #dfe4ea; } tr.failed td { background: #fdf0e7; }
.two { display: grid; gap: 1rem; grid-template-columns: repeat(auto-fit, minmax(min(100%, 420px), 1fr)); }
figure { margin: 0 0 1rem; } img { max-width: 100%; height: auto; }
"""

_CAPTIONS: Final = (
    (
        profile_picture,
        "Mean energy against depth. The cascade knows cross sections and no fit; simulation and formula have to be one "
        "curve, the cascade near them.",
    ),
    (
        maximum_picture,
        "A shower's maximum moves by one X0 where the energy grows by e. The parametrisation is about 0.3 X0 shallower "
        "than the Particle Data Group's line; that is its own, not a fault of the simulation.",
    ),
    (fluctuation_picture, "Each point is a shower, measured from the energy in its layers."),
    (radius_picture, "The Molière radius is to hold about 90 % of the energy."),
)


def write_report(validation: Validation, folder: Path) -> Path:
    """Write validation_report.html and .json, each whole or not at all; return the page's path."""
    config = validation.config
    made_by = ancestry(f"collider {collider.__version__}", git_commit(Path(__file__)), config.to_dict(), config.seed)
    # made before anything is written
    page = _page(validation, made_by["git_commit"])
    write_whole(folder / DATA, json.dumps({**validation.to_dict(), **made_by}, indent=1).encode())
    return write_whole(folder / PAGE, page.encode())


def _page(validation: Validation, commit: str) -> str:
    medium = validation.config.medium
    failed = sum(not check.passed for check in validation.checks)
    good = '<span class="badge yes">all passed</span>'
    verdict = f'<span class="badge no">{failed} failed</span>' if failed else good
    pictures = [_figure(draw(validation), text) for draw, text in _CAPTIONS]
    return f"""<!doctype html><html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{TITLE}</title><style>{_STYLE}</style></head><body>
<h1>{TITLE}</h1>
<p class="soft">Electrons and photons in {escape(medium.name)}: E_c {medium.critical_energy_mev:.3g} MeV,
X0 {medium.radiation_length_cm:.3g} cm, R_M {medium.moliere_radius_cm:.3g} cm.</p>
<p>{verdict} {len(validation.checks)} checks. A difference counts beyond the tolerance of its reference; the p-value is
that of the rest, for its statistical uncertainty, corrected for the number of checks (Holm). The report fails where one
is below {LEVEL:g}.</p>
{pictures[0]}
<div class="two">{"".join(pictures[1:])}</div>
<h2>All checks</h2>
{_table(validation.checks)}
<p class="soft">Not compared with Geant4 or a test beam: neither is part of this. Hadronic showers are simple and not
judged here.</p>
<p class="soft">Made by collider {escape(collider.__version__)} ({escape(commit[:12])}), seed {validation.config.seed}.
This file needs no network.</p></body></html>
"""


def _figure(png: bytes, text: str) -> str:
    data = base64.b64encode(png).decode()
    image = f'<img alt="{escape(text)}" src="data:image/png;base64,{data}">'
    return f"<figure>{image}<figcaption>{escape(text)}</figcaption></figure>"


def _table(checks: list[Check]) -> str:
    heads = ("check", "measured", "expected", "±", "tolerance", "corrected p", "", "reference")
    rows = [f"<tr>{''.join(f'<th>{head}</th>' for head in heads)}</tr>"]
    return (
        f'<div class="scroll"><table><thead>{rows[0]}</thead><tbody>{"".join(map(_row, checks))}</tbody></table></div>'
    )


def _row(check: Check) -> str:
    badge = '<span class="badge yes">ok</span>' if check.passed else '<span class="badge no">fails</span>'
    unit = f" {check.unit}" if check.unit else ""
    figures = [f"{check.measured:.4g}{unit}", f"{check.expected:.4g}{unit}", f"{check.uncertainty:.2g}"]
    figures += [f"{check.tolerance:.2g}", f"{check.corrected_p:.2g}", badge]
    cells = "".join(f"<td>{figure}</td>" for figure in figures)
    kind = "" if check.passed else ' class="failed"'
    return f"<tr{kind}><td>{escape(check.name)}</td>{cells}<td>{escape(check.source)}</td></tr>"
