"""The files that come with the program, by name: a user's own file beside them is no matter of the tests."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).parents[2]

TRAINING = (
    "classify",
    "conformer",
    "convnet",
    "denoise",
    "denoise_first",
    "fusion",
    "generate",
    "linoss",
    "lstm",
    "many_apparatus",
    "posterior",
    "pretrain",
    "s4d",
    "s4d_gpu",
    "s4d_time",
    "super_resolve",
    "told_noise",
)
SIMULATION = (
    "atomic_tritium_1t",
    "cavity_26ghz",
    "cavity_26ghz_modes",
    "coils",
    "kinds",
    "krypton",
    "krypton_45k",
    "long_track",
    "low_frequency",
    "noisy_scattered",
    "tritium",
    "tritium_35k",
    "tritium_band",
)
SHOWERS = ("crystals", "fine", "iron_pions", "leaking", "lead_argon", "pbwo4", "pbwo4_dense")
SHOWER_TRAINING = ("energy", "particle", "profile")
HIGGS_TRAINING = ("dedicated", "particle_net", "small")
HIGGS_STAGES = ("dedicated", "demo_dedicated", "demo_joint", "joint", "seed")
JETS = ("classify", "deep_set", "generate", "mass", "pretrain", "superresolve")
GENERATION = ("charged_higgs", "ttbar", "z")
DETECTORS = ("boosted", "events")
DETECTOR_TRAINING = (
    "charge",
    "ecal",
    "graph",
    "graph_identity",
    "hcal",
    "identity",
    "jets",
    "joint",
    "muon",
    "tracker",
    "untracked",
)
HIGGS_POINTS = ("demo", "points", "seven")
SWEEPS = ("encoders", "s4d_adaptive", "s4d_random", "s4d_size", "seeds")
WANDB_SWEEPS = ("encoders", "s4d_adaptive", "s4d_random", "seeds")
NOTEBOOKS = (
    *("detectors_data", "detectors_ensemble", "detectors_models", "detectors_physics"),
    *("endpoint", "evaluate", "explore_data", "jets_benchmark", "jets_data", "jets_results"),
)


def configurations() -> list[Path]:
    """Return the configurations of trainings."""
    return [ROOT / "configs" / f"{name}.yaml" for name in TRAINING]


def simulations() -> list[Path]:
    """Return the configurations of simulations."""
    return [ROOT / "configs/simulation" / f"{name}.yaml" for name in SIMULATION]


def showers() -> list[Path]:
    """Return the configurations of calorimeters."""
    return [ROOT / "configs/showers" / f"{name}.yaml" for name in SHOWERS]


def shower_trainings() -> list[Path]:
    """Return the configurations of trainings on showers."""
    return [ROOT / "configs/showers" / f"{name}.yaml" for name in SHOWER_TRAINING]


def higgs_trainings() -> list[Path]:
    """Return the configurations of trainings of the charged-Higgs search."""
    return [ROOT / "configs/higgs" / f"{name}.yaml" for name in HIGGS_TRAINING]


def higgs_stages() -> list[Path]:
    """Return the files of stages of the charged-Higgs search."""
    return [ROOT / "configs/higgs/stages" / f"{name}.yaml" for name in HIGGS_STAGES]


def jet_trainings() -> list[Path]:
    """Return the configurations of trainings on jets."""
    return [ROOT / "configs/jets" / f"{name}.yaml" for name in JETS]


def generations() -> list[Path]:
    """Return the configurations of processes."""
    return [ROOT / "configs/generation" / f"{name}.yaml" for name in GENERATION]


def detector_samples() -> list[Path]:
    """Return the sets of events in four detectors."""
    return [ROOT / "configs/detectors" / f"{name}.yaml" for name in DETECTORS]


def detector_trainings() -> list[Path]:
    """Return the configurations of trainings on candidates in four detectors."""
    return [ROOT / "configs/detectors" / f"{name}.yaml" for name in DETECTOR_TRAINING]


def higgs_points() -> list[Path]:
    """Return the sets of mass points of the search for charged Higgs bosons."""
    return [ROOT / "configs/higgs" / f"{name}.yaml" for name in HIGGS_POINTS]


def sweep_files() -> list[Path]:
    """Return the sweeps."""
    return [ROOT / "configs/sweeps" / f"{name}.yaml" for name in SWEEPS]


def wandb_files() -> list[Path]:
    """Return the sweeps that the agent of W&B reads."""
    return [ROOT / "configs/sweeps/wandb" / f"{name}.yaml" for name in WANDB_SWEEPS]


def notebooks() -> list[Path]:
    """Return the notebooks."""
    return [ROOT / "notebooks" / f"{name}.ipynb" for name in NOTEBOOKS]
