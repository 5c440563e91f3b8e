"""Headings and captions of the report's pictures; each caption says what a good result looks like."""

from __future__ import annotations

from reconstruction.judging.tables.judged import judged

GENERAL: dict[str, tuple[str, str]] = {
    "residuals": (
        "residuals",
        "All {rows}. The dashed line is the Gaussian of the core. Good: the histogram follows it, centred on zero, "
        "and little lies outside of what is shown. In the last picture a curve crosses the dotted line at about its "
        "resolution; good curves lie to the left and fall steeply, a shoulder to the right is a tail.",
    ),
    "truth": (
        "truth and estimate",
        "All {rows}; those whose estimate leaves the range of the truth lie outside of the picture, and the corner "
        "counts them. Good: everything on the diagonal. A horizontal band is an estimator that falls back to the "
        "mean; a second line is a wrong optimum.",
    ),
    "bias": (
        "bias",
        "Median of estimate minus truth; markers: {first}, dotted: all. Good: on the zero line everywhere. "
        "A slope against the energy is an estimator that pulls to the mean, and it shifts a spectrum. Estimators of "
        "very different resolution are shown in units of their own σ68.",
    ),
    "calibration": (
        "are the uncertainties honest?",
        "Calibration of {group}. Good: pulls follow the dashed unit Gaussian; the coverage lies in the grey band "
        "around zero (below: over-confident, above: under-confident; curves: multiples of the error bar, as of a "
        "Gaussian; markers: the stated 95.4 % interval, the 2σ coverage of the table); the observed spread follows the "
        "diagonal, so that each one's own σ can be trusted.",
    ),
    "coverage": (
        "coverage, where?",
        "Markers: {first}, dotted: all. Good: on the line at 68.3 % everywhere, not only on average.",
    ),
    "ranks": (
        "simulation-based calibration",
        "Distribution of the stated probability below the truth, in units of the uniform one. Good: flat, within the "
        "grey band. High at both ends: over-confident; high in the middle: under-confident; a slope: biased.",
    ),
    "tarp": (
        "TARP: all targets together",
        "Observed minus stated probability of lying nearer to a random point than the truth does. Good: within the "
        "grey band everywhere. Wrong correlations show here alone. Dashed: points near the sharpest estimator's "
        "estimates; what leaves the band only there is honest, but does not use all that the record tells.",
    ),
    "levels": (
        "coverage at every level, part by part",
        "Observed minus stated coverage of central intervals of every level, in four parts of equal number by what was "
        "estimated. Good: all four within the grey band of two standard errors. Four curves that leave it to both "
        "sides are honest on average only.",
    ),
    "selection": (
        "what a selection buys",
        "{Rows} with the smallest stated σ are kept first, of {group}. Good: low to the right, and falling "
        "steadily to the left: then the stated σ knows which {rows} are good. A dashed rms far above the solid "
        "line is tails.",
    ),
    "resolution": (
        "resolution",
        "σ68 in bins of equal numbers: markers with 68 % bootstrap bars for {first}, dotted lines for all. Good: flat "
        "and low, close to the dashed bound where there is one.",
    ),
    "map": (
        "resolution map",
        "All {rows}, one scale of colours; grey cells hold fewer than 12. Good: as dark as the map of the bound.",
    ),
    "confusion": (
        "true and told class",
        "All {rows}. Each line is of one true class: the share of its {rows} that were taken for each class, and how "
        "many. Good: all on the diagonal.",
    ),
    "roc": (
        "what a selection lets through",
        "Of {group}. As the stated probability that is asked for falls, more of the class are kept (up), and more of "
        "the others with them (across, logarithmic). Good: up at the left edge. Dotted: a guess.",
    ),
    "reliability": (
        "are the probabilities right?",
        "Of {group}: how often the most probable class is the true one, in bins of how probable it is said to be, with "
        "binomial bars. Good: on the diagonal; below it: over-confident.",
    ),
    "accuracy": (
        "accuracy, where?",
        "How often the most probable class is the true one, in bins of equal numbers; markers: {first}, dotted: all. "
        "Good: high everywhere.",
    ),
    "bound": (
        "how far from the bound",
        "Median of |residual|/bound over 0.6745, event by event; markers: {first}, dotted: all. Good: 1, the "
        "Cramér–Rao bound, which no unbiased estimator passes.",
    ),
}
"""What holds of any system. {rows}: what its rows are called; {first}: its first group; {group}: that of a picture."""


def caption_of(kind: str, group: str = "") -> tuple[str, str]:
    """Return heading and caption of a kind of picture, the judged system's own where it has one; `group` in words."""
    system = judged()
    title, caption = system.judging.captions.get(kind, GENERAL[kind])
    first = f"{next((one.name for one in system.judging.groups), 'all')} {system.nouns}"
    words = {"rows": system.nouns, "Rows": system.nouns.capitalize(), "first": first, "group": group}
    return title, caption.format(**words)


def group_in_words(group: str) -> str:
    """Return a group in words: all electrons; resolved electrons (sideband SNR of 25 or more)."""
    system = judged()
    known = next((one for one in system.judging.groups if one.name == group), None)
    return f"{group} {system.nouns}" + (f" ({known.words})" if known is not None else "")
