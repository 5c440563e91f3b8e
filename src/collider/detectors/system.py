"""Candidates in four detectors, as the core knows them: `system: collider.detectors` in a configuration."""

from __future__ import annotations

from collider.detectors.learning.columns import COLUMNS, MOMENTUM, TRUTHS
from reconstruction.ranges import NOT_NEGATIVE, SIZE
from reconstruction.system import Group, Judging, System

SYSTEM = System(
    name="collider.detectors",
    noun="candidate",
    nouns="candidates",
    columns=COLUMNS,
    truths=TRUTHS,
    module="collider.detectors.learning.module.DetectorModule",
    data="collider.detectors.learning.data.CandidateDataModule",
    export="collider.detectors.learning.export.export",
    ranges={"cells": SIZE, "neighbours": SIZE, "least_gev": NOT_NEGATIVE},
    input_columns=("tracker_hits", "ecal_cells"),
    must_agree={
        "cells": ("number of cells read of a calorimeter", ""),
        "neighbours": ("number of tracks and clusters read about a candidate", ""),
        "field_t": ("field of the solenoid", "T"),
        "layers": ("number of layers of the tracker", ""),
    },
    judging=Judging(
        groups=(Group("hard", f"true_{MOMENTUM}", 10.0, "true momentum of 10 GeV or more"),),
        covariates={f"true_{MOMENTUM}": None, "eta": None},
        map_over=(f"true_{MOMENTUM}", "eta"),
    ),
)
