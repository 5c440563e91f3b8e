"""Short trainings on made-up jets by the configurations that come with the program."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).parents[2]
SMALL = [
    "--trainer.accelerator=cpu",
    "--trainer.enable_progress_bar=false",
    "--figures.every_epochs=0",
    "--data.particles=12",
]
DRAWING = [
    *SMALL,
    "--data.batch_size=32",
    "--data.training_jets=320",
    "--model.optimiser.lr=1e-2",
    "--model.encoders.particles=collider.jets.networks.DeepSetEncoder",
    "--model.encoders.particles.width=8",
    "--model.encoders.particles.depth=1",
]
"""Of those that draw particles."""
TINY = {"width: 64": "width: 16", "depth: 4": "depth: 1", "pair_width: 16": "pair_width: 4"}


def configuration(name: str, folder: Path, **changed: str) -> str:
    """A shipped configuration with a tiny network that needs no further library."""
    text = (ROOT / "configs/jets" / f"{name}.yaml").read_text()
    for old, new in ({"LorentzParticleTransformer": "ParticleTransformer"} | TINY | changed).items():
        assert old in text, old
        text = text.replace(old, new)
    path = folder / f"{name}.yaml"
    path.write_text(text)
    return str(path)
