"""One HTML file to look at electrons one by one: a table to sort and filter, and for each electron what was measured.

Everything is drawn in the browser from quantised arrays, so that 2 000 electrons are a few megabytes. Rows r are
electrons; what the tables do not have is left out, and said.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from html import escape
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import cres
from cres import schema
from cres.errors import UserError
from cres.evaluation.resolved import RESOLVED
from reconstruction.files import write_whole
from reconstruction.judging.measures.bootstrap import Array
from reconstruction.judging.measures.metrics import pulls
from reconstruction.judging.measures.numbers import plain_name
from reconstruction.judging.measures.posterior import Mixture, QuantileFunction, posterior_of
from reconstruction.judging.pictures import plots
from reconstruction.judging.report.page import refuse_unwritable
from reconstruction.judging.tables.columns import COVARIANCE, SIDEBAND_SNR
from reconstruction.judging.tables.judged import unit_of
from reconstruction.judging.tables.table import PredictionTable

MOST = 2000
"""Electrons of a page, unless more are asked for: some 3 kB each."""
OUTLIER = 3.0
"""Residual over error bar from which an electron counts as an outlier."""
_EXTRA = ("true_radius_m", SIDEBAND_SNR, "signal_snr", "track_length_s", "avg_axial_frequency_hz")


@dataclass(frozen=True, eq=False)
class RecordPictures:
    """What the page draws of the records, rows in the order of `event_id`.

    spectrogram: (r, frames, bins) power over the noise's mean, around the carrier; frame_s, bin_hz: its steps.
    carrier_hz: (r,) the strongest line after mixing. spectrum: (r, positions) power over the noise's mean, both sides
    of the carrier folded together, position i at (i + 1) · step_hz from it. attention: (r, any number) weights over the
    same axis, or None. sideband_hz: (r, n) true distances of sidebands from the carrier, NaN for none, or None.
    notes: sentences on what is not shown, and why.
    """

    event_id: NDArray[np.int64]
    spectrogram: Array
    frame_s: float
    bin_hz: float
    carrier_hz: Array
    spectrum: Array
    step_hz: float
    attention: Array | None = None
    sideband_hz: Array | None = None
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if len(np.unique(self.event_id)) != len(self.event_id):
            raise UserError("an event_id occurs twice among the pictures of records: which one is of the electron?")


@dataclass(frozen=True, eq=False)
class ElectronPage:
    """A page to browse electrons: `save` it, or let a notebook show it."""

    html: str
    title: str
    electrons: int
    notes: tuple[str, ...] = field(default_factory=tuple)

    def save(self, path: Path | str) -> Path:
        """Write the page; it appears whole or not at all. Raises UserError for a folder that cannot be written."""
        path = Path(path)
        refuse_unwritable(path.parent)
        write_whole(path, self.html.encode())
        return path

    def __repr__(self) -> str:
        return f"{self.title}: {self.electrons} electrons, {len(self.html) / 1e6:.1f} MB; save it with .save(FILE)"

    def _repr_html_(self) -> str:
        """Return the page in a frame of its own, as notebooks show it."""
        style = "width:100%;height:48rem;border:1px solid #ccc"
        return f'<iframe srcdoc="{escape(self.html)}" style="{style}" title="{escape(self.title)}"></iframe>'


def outlier_score(table: PredictionTable) -> tuple[Array, str]:
    """Return what electrons are sorted by, largest first, (r,), and what it is, in words; failed estimates lead."""
    failed = ~np.isfinite(np.stack([table.mean(target) for target in table.targets])).all(axis=0)
    true = [target for target in table.targets if table.has_truth(target)]
    stated = [target for target in true if table.has_std(target)]
    with np.errstate(invalid="ignore"):
        if stated:
            parts = [np.abs(pulls(table.residual(target), table.std(target))) for target in stated]
            words = "the largest |estimate − truth| over its error bar"
        elif true:
            parts = [np.abs(table.residual(true[0]))]
            words = f"|estimate − truth| of the {plain_name(true[0])}"
        elif all(schema.spread_name(target) in table and table.has_std(target) for target in table.targets):
            parts = [table.column(schema.spread_name(target)) / table.std(target) for target in table.targets]
            words = "spread over error bar: without truth, what the estimator itself suspects"
        elif table.has_std(table.targets[0]):
            parts = [table.std(table.targets[0])]
            words = f"the error bar of the {plain_name(table.targets[0])}, for want of truth"
        else:
            parts, words = [np.zeros(len(table))], "nothing: the table has neither truth nor error bars"
    score = np.nan_to_num(np.max(np.stack(parts), axis=0), nan=np.inf, posinf=np.inf)
    return np.where(failed, np.inf, score), words


def chosen_rows(table: PredictionTable, most: int) -> NDArray[np.intp]:
    """Return the rows of at most so many electrons: half of them the largest outliers, the others evenly drawn."""
    if len(table) <= most:
        return np.arange(len(table))
    order = np.argsort(-outlier_score(table)[0], kind="stable")
    worst, rest = order[: (most + 1) // 2], np.sort(order[(most + 1) // 2 :])
    even = rest[np.linspace(0, len(rest) - 1, most - len(worst)).astype(np.intp)] if most > len(worst) else rest[:0]
    return np.sort(np.concatenate([worst, even]))


def cut_note(electrons: int, most: int) -> str:
    """Return which electrons a page shows that cannot hold all of them."""
    return f"{most} of {electrons} electrons: the {(most + 1) // 2} largest outliers, and others evenly drawn."


def electron_page(
    tables: Sequence[PredictionTable],
    pictures: RecordPictures | None = None,
    *,
    title: str = "Electrons one by one",
    most: int = MOST,
    notes: Sequence[str] = (),
) -> ElectronPage:
    """Return the page of the first table's electrons; further tables, and one of kind "bound", are shown beside it.

    `pictures` holds what is drawn of the records, of any of the electrons. Raises UserError where no table holds
    estimates, and where tables have no electron in common.
    """
    bound = next((table for table in tables if table.is_bound), None)
    estimates = [table for table in tables if not table.is_bound]
    if not estimates or not len(estimates[0]):
        raise UserError("there is no electron to browse: name a table of estimates")
    main, *others = estimates[0].join(*estimates[1:], *([bound] if bound is not None else []))
    joined_bound = others.pop() if bound is not None else None
    kept = chosen_rows(main, most)
    said = [*notes]
    if len(kept) < len(main):
        said.append(cut_note(len(main), most))
    main, others = main.select(kept), [table.select(kept) for table in others]
    joined_bound = None if joined_bound is None else joined_bound.select(kept)
    said += _missing(main, joined_bound, pictures)
    content = _content(main, others, joined_bound, pictures) | {"title": title, "notes": said}
    return ElectronPage(_page(title, content), title, len(main), tuple(said))


def _missing(main: PredictionTable, bound: PredictionTable | None, pictures: RecordPictures | None) -> list[str]:
    """Say what the page cannot show."""
    said = []
    if not any(map(main.has_truth, main.targets)):
        said.append("No truth in the table: residuals are not known, and nothing is marked as true.")
    if not any(map(main.has_std, main.targets)):
        said.append("The table states no uncertainty: there is no posterior to draw.")
    elif schema.POSTERIOR_WEIGHT not in main and schema.POSTERIOR_QUANTILE not in main:
        said.append("The table holds no whole posterior: a Gaussian of each error bar is drawn.")
    if bound is None:
        said.append("No table of the Cramér–Rao bound was given (scripts/estimate.py --method bound).")
    if pictures is None:
        said.append("No records were given (--data): spectrogram and spectrum are not shown.")
    else:
        said += pictures.notes
    return said


def _content(
    main: PredictionTable,
    others: Sequence[PredictionTable],
    bound: PredictionTable | None,
    pictures: RecordPictures | None,
) -> dict[str, Any]:
    """Return all that the script reads, in plain types; arrays as base64 of little-endian numbers."""
    score, words = outlier_score(main)
    with plots.in_style():
        colours = [plots.Curve("", np.zeros(0), None, place).colour for place in range(1 + len(others))]
    flags = [name for name, values in main.columns.items() if values.dtype == np.bool_ and values.ndim == 1]
    extra = [name for name in _EXTRA if name in main and name not in flags]
    return {
        "ids": [str(identity) for identity in main.event_id.tolist()],
        "score": _packed(np.where(np.isfinite(score), score, 1e300), "<f8"),
        "scoreWords": words,
        "outlier": OUTLIER,
        "resolved": RESOLVED.minimum,
        "targets": [_target(main, bound, target) for target in main.targets],
        "tables": [
            _estimates(table, main.targets, colour) for table, colour in zip([main, *others], colours, strict=True)
        ],
        "correlation": _bound_correlation(main, bound),
        "extra": [_column(main, name) for name in extra],
        "flags": [{"name": name.replace("_", " "), "values": _packed(main.column(name), "u1")} for name in flags],
        "records": None if pictures is None else _records(main.event_id, pictures),
    }


def _target(main: PredictionTable, bound: PredictionTable | None, target: str) -> dict[str, Any]:
    truth = main.truth(target) if main.has_truth(target) else None
    limit = bound.std(target) if bound is not None and bound.has_std(target) else None
    return {
        "name": plain_name(target),
        "unit": unit_of(target),
        "truth": None if truth is None else _packed(truth, "<f8"),
        "bound": None if limit is None else _packed(limit, "<f8"),
    }


def _estimates(table: PredictionTable, targets: Sequence[str], colour: str) -> dict[str, Any]:
    """Return a table's estimates, error bars and posterior; targets that it does not estimate are null."""
    known = [target if target in table.targets else None for target in targets]
    return {
        "name": table.estimator,
        "colour": colour,
        "mean": [None if t is None else _packed(table.mean(t), "<f8") for t in known],
        "std": [None if t is None or not table.has_std(t) else _packed(table.std(t), "<f8") for t in known],
        "posterior": _posterior(table, targets),
    }


def _posterior(table: PredictionTable, targets: Sequence[str]) -> dict[str, Any] | None:
    """Return the posterior about the estimates, in the order of the page's targets; None where nothing is stated."""
    posterior = posterior_of(table)
    if posterior is None or any(target not in table.targets for target in targets):
        return None
    order = [table.targets.index(target) for target in targets]
    estimate = np.stack([table.mean(target) for target in targets], axis=1)
    if isinstance(posterior, QuantileFunction):
        # offsets, so that four bytes hold them
        values = posterior.values[:, order] - estimate[:, :, None]
        levels = [float(level) for level in posterior.levels[0]]
        return {"kind": "quantiles", "levels": levels, "values": _packed(values, "<f4")}
    assert isinstance(posterior, Mixture)
    factors = posterior.choleskys[:, :, order]
    covariance = factors @ np.swapaxes(factors, -1, -2)
    return {
        "kind": "mixture",
        "components": posterior.weights.shape[1],
        "weights": _packed(posterior.weights, "<f4"),
        "means": _packed(posterior.means[:, :, order] - estimate[:, None], "<f4"),
        "covariances": _packed(covariance, "<f4"),
        "source": posterior.source,
    }


def _bound_correlation(main: PredictionTable, bound: PredictionTable | None) -> str | None:
    """Return the bound's correlation of the first two targets, (r,)."""
    if bound is None or COVARIANCE not in bound or main.targets[:2] != bound.targets[:2] or len(main.targets) < 2:
        return None
    matrix = bound.column(COVARIANCE)
    with np.errstate(divide="ignore", invalid="ignore"):
        return _packed(matrix[:, 0, 1] / np.sqrt(matrix[:, 0, 0] * matrix[:, 1, 1]), "<f4")


def _column(main: PredictionTable, name: str) -> dict[str, Any]:
    axis = plots.axis_of(name)
    label = plain_name(name)
    return {
        "key": name,
        "name": f"{label} ({axis.unit})" if axis.unit else label,
        "values": _packed(main.column(name) * axis.factor, "<f4"),
    }


def _records(event_id: NDArray[np.int64], pictures: RecordPictures) -> dict[str, Any]:
    """Return the pictures of the page's electrons: spectrograms in 16 steps of decibels, curves in 256 steps."""
    order = np.argsort(pictures.event_id)
    place = np.searchsorted(pictures.event_id, event_id, sorter=order)
    rows = order[np.minimum(place, len(order) - 1)]
    shown = pictures.event_id[rows] == event_id
    power, spectrum = pictures.spectrogram[rows], pictures.spectrum[rows]
    decibels = 10 * np.log10(np.maximum(power, 1e-3))
    top = np.maximum(decibels.max(axis=(1, 2)), 6.0)
    peak = np.maximum(spectrum.max(axis=1), 1e-30)
    content = {
        "shown": _packed(shown, "u1"),
        "frames": power.shape[1],
        "bins": power.shape[2],
        "frame": pictures.frame_s,
        "bin": pictures.bin_hz,
        "carrier": _packed(pictures.carrier_hz[rows], "<f8"),
        "top": _packed(top, "<f4"),
        "spectrogram": _nibbles(np.clip(np.rint(15 * decibels / top[:, None, None]), 0, 15)),
        "step": pictures.step_hz,
        "positions": spectrum.shape[1],
        "peak": _packed(peak, "<f4"),
        # square roots: small lines keep their digits
        "spectrum": _packed(np.rint(255 * np.sqrt(spectrum / peak[:, None])), "u1"),
        "attention": None,
        "sidebands": None,
    }
    if pictures.attention is not None:
        weights = pictures.attention[rows]
        most = np.maximum(weights.max(axis=1), 1e-30)
        content["attention"] = {
            "positions": weights.shape[1],
            "most": _packed(most, "<f4"),
            "values": _packed(np.rint(255 * np.sqrt(weights / most[:, None])), "u1"),
        }
    if pictures.sideband_hz is not None:
        lines = pictures.sideband_hz[rows]
        content["sidebands"] = {"count": lines.shape[1], "values": _packed(lines, "<f4")}
    return content


def _packed(values: Any, kind: str) -> str:
    return base64.b64encode(np.ascontiguousarray(values).astype(kind).tobytes()).decode()


def _nibbles(values: Array) -> str:
    """Return numbers of 0 to 15 two in a byte, the first in the lower half; an odd row is filled with a zero."""
    flat = values.reshape(len(values), -1).astype(np.uint8)
    flat = np.pad(flat, ((0, 0), (0, flat.shape[1] % 2)))
    return _packed(flat[:, ::2] | (flat[:, 1::2] << 4), "u1")


def _page(title: str, content: dict[str, Any]) -> str:
    asset = {kind: files("cres.evaluation").joinpath(f"browser.{kind}").read_text("utf-8") for kind in ("css", "js")}
    # nothing in a name can end the element, or begin a comment in it
    data = json.dumps(content, ensure_ascii=False, allow_nan=False).replace("<", "\\u003c")
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1"><link rel="icon" href="data:,">'
        f"<title>{escape(title)}</title><style>{asset['css']}</style></head><body>"
        f'<header><h1>{escape(title)}</h1><div id="notes"></div></header><main id="app">'
        "<noscript>This page draws its pictures with a script, which is switched off here.</noscript></main>"
        f"<footer>Made by cres {escape(cres.__version__)}. This file needs no network.</footer>"
        f'<script type="application/json" id="data">{data}</script><script>{asset["js"]}</script></body></html>\n'
    )
