"""Tagged jets in words, as a part of the report and of its JSON."""

from __future__ import annotations

import math
from functools import partial
from typing import Any

from collider.detectors.physics import pictures
from collider.detectors.physics.chain import NETWORK, RULES, TRUTH
from collider.detectors.physics.markup import said, table
from collider.detectors.physics.measures import plain
from collider.detectors.physics.tagging.figures import MASS_ALONE, TaggedBy, TaggingFigures
from reconstruction.judging.pictures.class_plots import roc_curves
from reconstruction.judging.pictures.illustrations import Illustration, Panel, Section

PLACES = {RULES: 0, NETWORK: 1, TRUTH: 2, MASS_ALONE: 3}


def tagging_in_words(figures: TaggingFigures) -> list[str]:
    """Return what came of it, a sentence."""
    jets = ", ".join(f"{count} {name}" for name, count in figures.jets.items())
    if not figures.by:
        return [f"Large jets ({jets}): too few of two classes to be told apart."]
    areas = "; ".join(
        f"{name} " + ", ".join(f"{by} {said(one.area[name], 3)}" for by, one in figures.by.items())
        for name in figures.judged
        if name != "other"
    )
    return [f"Large jets ({jets}), area under the ROC curve by ensembles of trees on substructure: {areas}."]


def tagging_summary(figures: TaggingFigures) -> dict[str, Any]:
    """Return it in plain types."""
    found = {name: share if math.isfinite(share) else None for name, share in figures.found.items()}
    return {
        "true_jets": dict(figures.jets),
        "found": found,
        "judged": dict(figures.judged),
        "by": {name: _plain(one) for name, one in figures.by.items()},
    }


def _plain(one: TaggedBy) -> dict[str, Any]:
    return {
        name: {
            "area": plain(area),
            "area_of_each_member": one.alone[name].tolist(),
            "others_with_half": dict(zip(("value", "low", "high"), one.others[name], strict=True)),
        }
        for name, area in one.area.items()
    }


def tagging_section(figures: TaggingFigures) -> Section:
    """Return the part of the page."""
    flows = [name for name in figures.found if name != TRUTH]
    jets = table(
        ["large jets of true particles", *figures.jets, *(f"found by {name}" for name in flows)],
        [["", *map(str, figures.jets.values()), *(_percent(figures.found[name]) for name in flows)]],
    )
    words = (
        "<p>Jets of a large radius that hold a whole W → qq or t → qqq by their true particles, and all others. "
        "Boosted trees see mass, soft-drop mass, subjettiness, the number of particles and the charged share, of the "
        "jet as each flow has it; not its pT, whose spectra are a matter of the sample. The events are in parts, and "
        "each is judged by trees that were trained on the others: no event is on both sides. Members differ by the "
        "events that each was trained on.</p>"
    )
    if not figures.by:
        return Section("Jets tagged by substructure", f"{words}<p>Too few of two classes.</p>{jets}")
    heads = ["class", "by", "jets", "area under the curve", "members alone (mean ± spread)", "others kept with half"]
    rows = [
        [name, by, str(figures.judged[name]), said(one.area[name], 3), _alone(one, name), _others(one, name)]
        for name in figures.judged
        for by, one in figures.by.items()
    ]
    tellers = [(by, PLACES[by], one.told) for by, one in figures.by.items()]
    curves = tuple(
        Panel(
            f"tag-{name}", partial(roc_curves, tellers, place, name), f"ROC curve of large jets, {name} against others"
        )
        for place, name in enumerate(figures.judged)
        if name != "other"
    )
    masses = tuple(
        Panel(f"soft-drop-{flow}", partial(pictures.soft_drop_picture, figures.kinds, own, flow),
              f"soft-drop mass of large jets by {flow}")
        for flow, own in figures.masses_gev.items()
    )  # fmt: skip
    return Section(
        "Jets tagged by substructure",
        words + jets + table(heads, rows),
        (
            Illustration("Each class against all others", "With 68 % intervals in the table above.", curves),
            Illustration("Soft-drop mass", "Of the large jets, by what they hold.", masses),
        ),
    )


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %" if math.isfinite(share) else ""


def _alone(one: TaggedBy, name: str) -> str:
    members = one.alone[name]
    spread = f" ± {members.std(ddof=1):.3f}" if len(members) > 1 else ""
    return f"{members.mean():.3f}{spread}"


def _others(one: TaggedBy, name: str) -> str:
    share, low, high = one.others[name]
    return f"{100 * share:.1f} +{100 * (high - share):.1f} −{100 * (share - low):.1f} %"
