"""Networks of jets beside each other: python benchmarks/jets.py DATA [--jets 1000 10000] [--epochs 10]

DATA is a folder of `scripts/jets.py`. Rows: LorentzParT, the Particle Transformer, a Deep Set, and boosted trees on jet
quantities, on the same jets and split; LorentzParT with kinematics alone; fine-tuned from a masked pre-training, and
its head alone. Then how much the encoders change under boosts. --only chooses rows by their names, or by a part of
several. What is finished in --folder, one for each DATA, is not done again.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import torch

from collider.jets.judging.report import judge
from collider.jets.judging.trees import tree_table
from collider.jets.learning.data import PARTICLES, JetDataModule
from collider.jets.learning.invariance import boost, lorentz_violation
from reconstruction.judging.tables.find import PREDICTIONS
from reconstruction.judging.tables.table import PredictionTable
from reconstruction.models import Encoder
from reconstruction.models.encoders.views import RecordView
from reconstruction.training.runs.loading import load_module

ROOT = Path(__file__).parents[1]
PRETRAINED = "--fine_tune.checkpoint={pretrained}"
ROWS: dict[str, tuple[str, dict[str, str], list[str]]] = {
    "LorentzParT": ("classify", {}, []),
    "Particle Transformer": ("classify", {"LorentzParticleTransformer": "ParticleTransformer"}, []),
    "Deep Set": ("deep_set", {}, []),
    "LorentzParT, kinematics": ("classify", {"features: full": "features: kin"}, []),
    "LorentzParT, pre-trained": ("classify", {}, [PRETRAINED]),
    "LorentzParT, pre-trained and frozen": ("classify", {}, [PRETRAINED, "--fine_tune.trainable_layers=0"]),
}
"""Each with its configuration, what is another in it, and further options."""
BOOSTS = (0.1, 0.5, 0.9)
"""Velocities along x, in units of c."""


def run(*words: str) -> None:
    subprocess.run([sys.executable, str(ROOT / "cli.py"), *words], check=True, cwd=ROOT, stdout=subprocess.DEVNULL)


def trained(name: str, data: Path, folder: Path, jets: int | None, epochs: int, pretrained: Path) -> Path:
    """Train a row and return its run."""
    config, changed, options = ROWS[name]
    place = folder / f"{name} {jets or 'all'} {epochs} epochs".replace(",", "").replace(" ", "_")
    if (place / PREDICTIONS).exists():
        return place
    text = (ROOT / "configs/jets" / f"{config}.yaml").read_text()
    for old, new in changed.items():
        assert old in text, old
        text = text.replace(old, new)
    written = place.with_suffix(".yaml")
    written.write_text(text)
    words = [str(written), f"--run={place}", f"--data.data={data}", f"--trainer.max_epochs={epochs}"]
    words += [f"--data.training_jets={jets}"] if jets else []
    words += [option.format(pretrained=pretrained) for option in options]
    run("fit", "-c", *words, "--figures.every_epochs=0")
    run("test", f"--run={place}")
    return place


def chosen(only: Sequence[str]) -> list[str]:
    """Return the rows that are named, or of whose names parts are; without any all of them."""
    return [
        name for name in ROWS if not only or any(part == name or (part not in ROWS and part in name) for part in only)
    ]


def violation(run_folder: Path, data: Path) -> str:
    """Return how much the encoder of a run changes under boosts."""
    module = load_module(run_folder / "checkpoints" / "best.ckpt")
    batch = next(iter(JetDataModule(str(data), batch_size=256).test_dataloader()))
    jets, lengths = batch["inputs"][PARTICLES], batch["masks"][PARTICLES].sum(dim=1)
    view, encoder = module.reconstructor.views["particles"], module.reconstructor.fusion.encoders["particles"]
    assert isinstance(view, RecordView)
    assert isinstance(encoder, Encoder)
    changes = [
        lorentz_violation(view, encoder.eval(), jets, lengths, boost(torch.tensor([velocity, 0.0, 0.0])))
        for velocity in BOOSTS
    ]
    return ", ".join(f"{velocity:g} c: {change:.2f}" for velocity, change in zip(BOOSTS, changes, strict=True))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--jets", type=int, nargs="*", default=[], help="training jets; none: all")
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--only", nargs="*", default=[])
    parser.add_argument("--folder", type=Path, default=None)
    arguments = parser.parse_args()
    names = chosen(arguments.only)
    folder = (arguments.folder or Path(tempfile.mkdtemp(prefix="jets-"))).resolve()
    folder.mkdir(parents=True, exist_ok=True)
    pretraining = folder / f"pretrain_{arguments.epochs}_epochs"
    pretrained, finished = pretraining / "checkpoints" / "best.ckpt", pretraining / "finished"
    if any("pre-trained" in name for name in names) and not finished.exists():
        run("fit", "-c", "configs/jets/pretrain.yaml", f"--run={pretraining}", f"--data.data={arguments.data}",
            f"--trainer.max_epochs={arguments.epochs}", "--figures.every_epochs=0")  # fmt: skip
        finished.touch()
    for jets in arguments.jets or [None]:
        runs = {name: trained(name, arguments.data, folder, jets, arguments.epochs, pretrained) for name in names}
        tables = [PredictionTable.read(place / PREDICTIONS).renamed(name) for name, place in runs.items()]
        tables.append(tree_table(JetDataModule(str(arguments.data), particles=1, training_jets=jets)))
        print(f"\n{jets or 'all'} training jets, {arguments.epochs} epochs\n{judge(tables, folder)}", flush=True)
        for name, place in runs.items():
            print(f"{name}: change under boosts across the beam, {violation(place, arguments.data)}", flush=True)


if __name__ == "__main__":
    main()
