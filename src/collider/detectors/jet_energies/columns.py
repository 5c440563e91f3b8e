"""Columns of jets: what is true of them, what rules say, and the numbers of a track or a cluster in one."""

from __future__ import annotations

from typing import Final

from collider.detectors.physics.jets import JET_PT, RULES_PT
from reconstruction.system import Column

OBJECTS: Final = "objects"
"""The input: of each jet its lead, then its tracks and clusters, those with the most energy first."""
LEAD: Final = ("rules_pt_gev", "abs_eta", "objects_share")
"""Numbers of the first position: pT by rules in GeV, |η|, and the scalar sum of what is in the cone over that pT."""
OBJECT_NUMBERS: Final = (
    *("track", "ecal", "hcal"),
    *("log_energy", "over_jet_pt", "distance"),
    *("width", "first_depth", "seed_share", "log_cells"),
    *("own", "of_a_track"),
    *("log_track_gev", "log_ecal_gev", "log_hcal_gev"),
    *("log_block_tracks_gev", "log_block_ecal_gev", "log_block_hcal_gev"),
    *("block_excess_sigma", "block_excess_over_jet_pt", "log_block_neutral_gev", "block_neutral_over_jet_pt"),
    *("electron", "muon", "photon", "neutral_hadron"),
)
"""Numbers of a track or a cluster; `tokens.object_numbers` says what each is."""
OVER_JET_PT: Final = OBJECT_NUMBERS.index("over_jet_pt")

TRUTHS: Final = (JET_PT,)
COLUMNS: Final = {
    column.name: column
    for column in (
        Column(JET_PT, "GeV", "float64", 0.0, 1e5, "pT of the jet of true particles", "pT of the jet"),
        Column(RULES_PT, "GeV", "float64", 0.0, 1e5, "pT of the jet by rules of particle flow", "pT by rules"),
        Column("true_lonely", "", "float64", 0.0, 1.1, "largest share of the true pT that one lepton or photon has",
               "share of one lepton or photon"),
        Column("eta", "", "float64", -10.0, 10.0, "pseudorapidity of the jet by rules", "η"),
        Column("phi_rad", "rad", "float64", -4.0, 4.0, "azimuth of the same", "φ"),
        Column("object_count", "", "int64", 0.0, 1e6, "how many tracks and clusters are in it", "tracks and clusters"),
        Column("process", "", "int64", 0.0, 127.0, "place of the process among those of the files", "process"),
        Column("event_number", "", "int64", 0.0, 2.0**32, "number of the event among those of its process", "event"),
    )
}  # fmt: skip
