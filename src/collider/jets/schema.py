"""Columns of files of jets: those of JetClass under its names, and ours beside them.

JetClass: Qu, Li, Qian 2022, arXiv:2202.03772; names as in github.com/jet-universe/particle_transformer,
data/JetClass/JetClass_full.yaml and dataloader.py.
"""

from __future__ import annotations

from typing import Final

from reconstruction.system import Column

FOUR_VECTOR: Final = ("part_px", "part_py", "part_pz", "part_energy")
DIRECTION: Final = ("part_deta", "part_dphi")
IDENTITY: Final = (
    "part_charge",
    "part_isChargedHadron",
    "part_isNeutralHadron",
    "part_isPhoton",
    "part_isElectron",
    "part_isMuon",
)
IMPACT: Final = ("part_d0val", "part_d0err", "part_dzval", "part_dzerr")
PARTICLE_COLUMNS: Final = (*FOUR_VECTOR, *DIRECTION, *IMPACT, *IDENTITY)
"""What is known of each constituent, (jet, particle) in our files, lists in those of JetClass; GeV and mm."""
JET_COLUMNS: Final = (
    "jet_pt",
    "jet_eta",
    "jet_phi",
    "jet_energy",
    "jet_nparticles",
    "jet_sdmass",
    "jet_tau1",
    "jet_tau2",
    "jet_tau3",
    "jet_tau4",
)
CLASS: Final = "jet_class"
"""Code of a jet's class, made of the labels."""
MASS: Final = "jet_mass"
TRUE_MASS: Final = "jet_genmass"

_COLUMNS = (
    Column("part_px", "GeV", "float32", -1e5, 1e5, "momentum of each constituent", "px"),
    Column("part_py", "GeV", "float32", -1e5, 1e5, "momentum of each constituent", "py"),
    Column("part_pz", "GeV", "float32", -1e5, 1e5, "momentum of each constituent", "pz"),
    Column("part_energy", "GeV", "float32", 0.0, 1e5, "energy of each constituent", "energy"),
    Column("part_d0val", "mm", "float32", -1e4, 1e4, "transverse impact parameter", "d0"),
    Column("part_d0err", "mm", "float32", 0.0, 1e4, "its error", "error of d0"),
    Column("part_dzval", "mm", "float32", -1e5, 1e5, "longitudinal impact parameter", "dz"),
    Column("part_dzerr", "mm", "float32", 0.0, 1e5, "its error", "error of dz"),
    Column(CLASS, "", "int64", -1.0, 1e3, "code of the class", "class"),
    Column("jet_pt", "GeV", "float32", 0.0, 1e5, "transverse momentum", "jet pT"),
    Column("jet_eta", "", "float32", -10.0, 10.0, "pseudorapidity of the axis", "jet η"),
    Column("jet_phi", "rad", "float32", -7.0, 7.0, "azimuth of the axis", "jet φ"),
    Column("jet_energy", "GeV", "float32", 0.0, 1e5, "energy", "jet energy"),
    Column("jet_nparticles", "", "int32", 0.0, 1e4, "number of constituents", "constituents"),
    Column("jet_sdmass", "GeV", "float32", -1.0, 1e4, "mass without soft radiation", "soft-drop mass"),
    Column(MASS, "GeV", "float32", 0.0, 1e4, "mass of the sum of all constituents as measured", "mass of the sum"),
    Column(TRUE_MASS, "GeV", "float32", 0.0, 1e4, "mass of the jet of the particles themselves", "jet mass"),
    Column("jet_genpt", "GeV", "float32", 0.0, 1e5, "pT of the jet of the particles themselves", "true jet pT"),
    Column("aux_genpart_pt", "GeV", "float32", 0.0, 1e5, "pT of the particle that decayed", "pT of the particle"),
    Column("aux_genpart_eta", "", "float32", -30.0, 30.0, "its pseudorapidity", "η of the particle"),
    Column("aux_genpart_phi", "rad", "float32", -7.0, 7.0, "its azimuth", "φ of the particle"),
    Column("aux_genpart_pid", "", "int32", -1e10, 1e10, "its PDG code", "particle"),
)
COLUMNS: Final = {column.name: column for column in _COLUMNS}
