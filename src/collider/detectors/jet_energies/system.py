"""Jets in four detectors, as the core knows them: `system: collider.detectors.jet_energies` in a configuration."""

from __future__ import annotations

from collider.detectors.jet_energies.columns import COLUMNS, TRUTHS
from collider.detectors.physics.jets import JET_PT, RULES_PT
from reconstruction.ranges import NOT_NEGATIVE, SIZE
from reconstruction.system import Group, Judging, System

SYSTEM = System(
    name="collider.detectors.jet_energies",
    noun="jet",
    nouns="jets",
    columns=COLUMNS,
    truths=TRUTHS,
    module="collider.detectors.jet_energies.module.JetEnergyModule",
    data="collider.detectors.jet_energies.data.FlowJetDataModule",
    ranges={"objects": SIZE, "least_gev": NOT_NEGATIVE},
    input_columns=("tracker_hits", "ecal_cells"),
    must_agree={
        "objects": ("number of tracks and clusters read of a jet", ""),
        "radius": ("radius of the jets", ""),
        "field_t": ("field of the solenoid", "T"),
    },
    judging=Judging(
        groups=(Group("hard", f"true_{JET_PT}", 30.0, "true pT of 30 GeV or more"),),
        covariates={f"true_{JET_PT}": None, "eta": None},
        map_over=(RULES_PT, "eta"),
    ),
)
