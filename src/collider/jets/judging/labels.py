"""What pre-training is worth in labels: figures against the number of labels, from scratch and pre-trained."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

import numpy as np
from matplotlib.figure import Figure

from reconstruction.errors import UserError
from reconstruction.judging.measures.bootstrap import Array
from reconstruction.judging.pictures.axes import INK, legend, plain_log
from reconstruction.judging.pictures.plots import Curve, canvas, styled
from reconstruction.levels import CENTRAL_68

SCRATCH: Final = "from scratch"
PRETRAINED: Final = "pre-trained"
SHOWN: Final = {"accuracy": "accuracy", "auc": "AUC", "macro_f1": "macro F1"}
RESAMPLES: Final = 2000


@dataclass(frozen=True)
class LabelResult:
    """Figures of one training on so many labels, those that validate counted in."""

    start: str
    labels: int
    seed: int
    figures: Mapping[str, float]

    @property
    def job(self) -> tuple[str, int, int]:
        """Which training it is."""
        return self.start, self.labels, self.seed


@dataclass(frozen=True)
class LabelWorth:
    """How many times as many labels a training from scratch needs; `low` and `high`: 68 % over the seeds.

    A figure that no number of labels reached from scratch counts as reached by their largest: where `beyond` is a
    share of the resamples of seeds, so many of them are lower bounds, the value too where `bound` says so.
    """

    labels: int
    value: float
    low: float
    high: float
    beyond: float
    bound: bool

    def __str__(self) -> str:
        much = f"{'at least ' if self.bound else ''}{self.value:.2g}"
        bounded = f", a lower bound in {100 * self.beyond:.0f} % of them" if self.beyond else ""
        return (
            f"pre-training is worth a factor of {much} in labels at {self.labels:,} (68 % of resamples of the seeds: "
            f"{self.low:.2g} to {self.high:.2g}{bounded})"
        )


def read_results(path: Path) -> list[LabelResult]:
    """Return the results of a file of lines; none where there is no file. Raises UserError for another file."""
    try:
        lines = path.read_text().splitlines() if path.exists() else []
        return [LabelResult(**json.loads(line)) for line in lines]
    except (OSError, UnicodeDecodeError, ValueError, TypeError) as error:
        raise UserError(f"{path} holds no results of trainings on labels: {error}") from error


def add_result(path: Path, result: LabelResult) -> None:
    """Append a result to a file of lines."""
    with path.open("a") as stream:
        stream.write(json.dumps(asdict(result)) + "\n")


def worth(results: Sequence[LabelResult], labels: int, figure: str = "accuracy", seed: int = 0) -> LabelWorth:
    """Return what pre-training is worth at a number of labels.

    The mean over the seeds against ln(labels) is joined by straight lines and made to rise (its running maximum); the
    factor is the number of labels at which that from scratch reaches the pre-trained mean, over `labels`. Seeds are
    resampled for each number and start. Raises UserError where one of the two is missing, or one number stands alone.
    """
    scratch = {count: _values(results, SCRATCH, count, figure) for count in counts_of(results, SCRATCH)}
    reached = _values(results, PRETRAINED, labels, figure)
    if not len(reached) or len(scratch) < 2:
        raise UserError(
            f"what pre-training is worth at {labels} labels needs a pre-trained training there, and trainings from "
            "scratch at two numbers of labels"
        )
    random = np.random.default_rng(seed)
    drawn = [
        _needed({count: random.choice(values, len(values)) for count, values in scratch.items()},
                float(random.choice(reached, len(reached)).mean()))
        for _ in range(RESAMPLES)
    ]  # fmt: skip
    value, bound = _needed(scratch, float(reached.mean()))
    factors = np.array([one[0] for one in drawn]) / labels
    low, high = np.quantile(factors, (0.5 - CENTRAL_68 / 2, 0.5 + CENTRAL_68 / 2))
    beyond = float(np.mean([one[1] for one in drawn]))
    return LabelWorth(labels, value / labels, float(low), float(high), beyond, bound)


def _needed(scratch: Mapping[int, Array], reached: float) -> tuple[float, bool]:
    """Return the number of labels at which the curve reaches a figure, and whether it never does.

    A figure below the whole curve counts as reached by its smallest number.
    """
    counts = np.array(sorted(scratch))
    curve = np.maximum.accumulate([scratch[count].mean() for count in counts.tolist()])
    if reached > curve[-1]:
        return float(counts[-1]), True
    after = int(np.searchsorted(curve, reached))
    if after == 0:
        return float(counts[0]), False
    share = (reached - curve[after - 1]) / (curve[after] - curve[after - 1])
    low, high = np.log(counts[after - 1]), np.log(counts[after])
    return float(np.exp(low + share * (high - low))), False


def counts_of(results: Iterable[LabelResult], start: str) -> list[int]:
    """Return the numbers of labels of a start, the smallest first."""
    return sorted({one.labels for one in results if one.start == start})


def _values(results: Iterable[LabelResult], start: str, labels: int, figure: str) -> Array:
    return np.array([one.figures[figure] for one in results if (one.start, one.labels) == (start, labels)])


def label_table(results: Sequence[LabelResult]) -> str:
    """Return Markdown: the mean over the seeds with their range, by labels and start."""
    lines = [["labels", "start", *SHOWN.values(), "seeds"], ["---:", "---", *["---:"] * len(SHOWN), "---:"]]
    for labels in sorted({one.labels for one in results}):
        for start in dict.fromkeys(one.start for one in results):
            values = {name: _values(results, start, labels, name) for name in SHOWN}
            seeds = len(values["accuracy"])
            if seeds:
                lines.append([f"{labels:,}", start, *(_cell(one) for one in values.values()), str(seeds)])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _cell(values: Array) -> str:
    spread = f" ({values.min():.3f} to {values.max():.3f})" if len(values) > 1 else ""
    return f"{values.mean():.3f}{spread}"


@styled
def label_curve(results: Sequence[LabelResult], figure: str = "accuracy", labels: int | None = None) -> Figure:
    """Draw a figure against the number of labels: each seed, and the mean; an arrow shows what pre-training is worth.

    labels: where the arrow stands; none is drawn where the trainings for it are missing.
    """
    drawing, axes = canvas()
    for place, start in enumerate(dict.fromkeys(one.start for one in results)):
        curve = Curve(start, np.zeros(0), None, place)
        mine = [one for one in results if one.start == start]
        counts = counts_of(mine, start)
        means = [_values(mine, start, count, figure).mean() for count in counts]
        axes.plot(counts, means, color=curve.colour, label=start)
        axes.plot([one.labels for one in mine], [one.figures[figure] for one in mine], color=curve.colour,
                  marker=curve.marker, linestyle="none", alpha=0.6)  # fmt: skip
    axes.set(xlabel="labels (a fifth of them validates)", ylabel=SHOWN[figure], xscale="log")
    plain_log(axes.xaxis)
    if labels in counts_of(results, PRETRAINED) and len(counts_of(results, SCRATCH)) > 1:
        found = worth(results, labels, figure)
        level = float(_values(results, PRETRAINED, labels, figure).mean())
        axes.annotate("", (labels, level), (labels * found.value, level),
                      arrowprops={"arrowstyle": "<->", "color": INK, "linewidth": 1})  # fmt: skip
        said = f"{'≥ ' if found.bound else ''}{found.value:.2g} × the labels"
        paper = {"facecolor": "white", "edgecolor": "none", "alpha": 0.85, "pad": 1.5}
        axes.annotate(said, (labels * np.sqrt(found.value), level), (0, -7), textcoords="offset points", va="top",
                      ha="center", fontsize=8.5, color=INK, bbox=paper)  # fmt: skip
    legend(axes)
    return drawing
