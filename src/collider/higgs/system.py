"""A charged Higgs boson among its backgrounds, as the core knows it: `system: collider.higgs` in a configuration."""

from __future__ import annotations

from reconstruction.ranges import SIZE
from reconstruction.system import Column, Judging, System

COLUMNS = {
    column.name: column
    for column in (
        Column("class", "", "int64", 0.0, 3.0, "0 signal, 1 non-prompt, 2 diboson, 3 tt̄X", "class"),
        Column("mass_charged_higgs_gev", "GeV", "float64", 1.0, 1e4, "mass of H⁺, for backgrounds told", "mass of H⁺"),
        Column("mass_a_gev", "GeV", "float64", 0.1, 1e4, "mass of A, for backgrounds told", "mass of A"),
        Column("missing_pt_gev", "GeV", "float64", 0.0, 1e5, "missing transverse momentum", "missing momentum"),
        Column("objects", "", "int64", 0.0, 1e4, "leptons and jets of the event", "number of objects"),
        Column("weight", "", "float64", 0.0, 1e9, "what the event counts", "weight"),
    )
}

SYSTEM = System(
    name="collider.higgs",
    noun="event",
    nouns="events",
    columns=COLUMNS,
    truths=("class",),
    module="collider.higgs.learning.module.HiggsModule",
    data="collider.higgs.learning.data.HiggsDataModule",
    export="collider.higgs.learning.export.export",
    ranges={"neighbours": SIZE},
    input_columns=("object_kind", "object_pt_gev"),
    judging=Judging(covariates={"missing_pt_gev": None, "objects": None, "mass_a_gev": None}),
)
