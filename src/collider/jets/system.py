"""Jets of particles, as the core knows them: `system: collider.jets` in a configuration."""

from __future__ import annotations

from collider.jets.schema import COLUMNS, MASS, TRUE_MASS
from reconstruction.ranges import COUNT, SEED, SIZE
from reconstruction.system import Judging, System

SYSTEM = System(
    name="collider.jets",
    noun="jet",
    nouns="jets",
    columns=COLUMNS,
    truths=(TRUE_MASS, "jet_genpt"),
    module="collider.jets.learning.module.JetModule",
    data="collider.jets.learning.data.JetDataModule",
    ranges={
        "particles": SIZE,
        "training_jets": SIZE,
        "validation_jets": SIZE,
        "label_seed": SEED,
        "heads": SIZE,
        "class_depth": SIZE,
        "multivectors": SIZE,
        "pair_width": COUNT,  # 0 leaves pairs out
        "latent": SIZE,
        "outline_width": SIZE,
        "number_width": SIZE,
        "seen": SIZE,
    },
    input_columns=("part_px", "part_energy"),
    must_agree={"particles": ("number of particles read of a jet", "")},
    judging=Judging(
        covariates={"jet_pt": None, MASS: None, "jet_nparticles": None},
        map_over=("jet_pt", "jet_nparticles"),
    ),
)
