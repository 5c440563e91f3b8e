"""Showers in the cells of a calorimeter, as the core knows them: `system: collider.showers` in a configuration."""

from __future__ import annotations

from reconstruction.ranges import SIZE
from reconstruction.system import Column, Group, Judging, System

ENERGETIC = Group(
    "energetic",
    "true_energy_gev",
    10.0,
    "true energy of 10 GeV or more",
    "below, fluctuations of the sampling rule",
)

COLUMNS = {
    column.name: column
    for column in (
        Column("energy_gev", "GeV", "float64", 1e-3, 1e6, "energy that entered", "energy"),
        Column("deposited_gev", "GeV", "float64", -1e3, 1e6, "sum of the cells as read out", "energy seen"),
        Column("absorbed_gev", "GeV", "float64", 0.0, 1e6, "energy in the cells before read-out", "absorbed energy"),
        Column("particle", "", "int64", -1e10, 1e10, "PDG code of what entered", "particle"),
        Column("start_depth_x0", "X0", "float64", 0.0, 1e4, "where the shower begins", "start of the shower"),
        Column("shower_t_x0", "X0", "float64", 0.0, 1e4, "T of the shower's own profile", "depth of the maximum"),
        Column("shower_alpha", "", "float64", 0.0, 1e4, "α of the shower's own profile", "shape α of the profile"),
    )
}

TRUTHS = ("energy_gev", "absorbed_gev", "particle", "start_depth_x0", "shower_t_x0", "shower_alpha")

SYSTEM = System(
    name="collider.showers",
    noun="shower",
    nouns="showers",
    columns=COLUMNS,
    truths=TRUTHS,
    module="collider.showers.learning.module.ShowerModule",
    data="collider.showers.learning.data.ShowerDataModule",
    export="collider.showers.learning.export.export",
    ranges={"sectors": SIZE, "neighbours": SIZE, "heads": SIZE, "together": SIZE},
    input_columns=("showers", "incident_energies"),
    facts=("grid", "grid_shape", "depth_edges_x0", "across_edges_rm"),
    must_agree={
        "layers": ("number of layers", ""),
        "sectors": ("number of sectors (columns of squares)", ""),
        "rings": ("number of rings (rows of squares)", ""),
        "depth_x0": ("depth of all layers", "X0"),
        "width_rm": ("outermost edge", "R_M"),
    },
    judging=Judging(
        groups=(ENERGETIC,),
        covariates={
            "true_energy_gev": "deposited_gev",
            "deposited_gev": None,
            "true_shower_t_x0": None,
            "true_start_depth_x0": None,
        },
        map_over=("true_energy_gev", "true_shower_t_x0"),
        captions={
            "resolution": (
                "resolution",
                "σ68 in bins of equal numbers: markers with 68 % bootstrap bars for {first}, dotted lines for all. It "
                "grows with the energy, as √E where sampling rules: good is close to the dashed bound, which holds for "
                "electrons.",
            ),
        },
    ),
)
