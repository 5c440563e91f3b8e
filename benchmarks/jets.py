"""Networks of jets beside each other, and what labels are worth to them.

    python benchmarks/jets.py DATA [--jets 1000 10000] [--epochs 10]
    python benchmarks/jets.py DATA --labels 100 1000 3000 10000 all [--seeds 3] [--steps 600] --folder runs/jets_labels
    python benchmarks/jets.py DATA --masking [--epochs 10] --folder runs/jets_masking

DATA is a folder of `scripts/jets.py`. Rows: LorentzParT, the Particle Transformer, a slim L-GATr, a Deep Set, and
boosted trees on jet quantities, on the same jets and split; LorentzParT with kinematics alone; fine-tuned from a masked
pre-training, whole, its last two blocks, and its head alone. Then how much the encoders change under boosts. --only
chooses rows by their names, or by a part of several. What is finished in --folder, one for each DATA, is not done
again.

With --labels: LorentzParT "from scratch" and "pre-trained" (--only chooses) on so many labels. A fifth of them
validates, each seed has its own labels and initial weights, and every training takes about --steps steps or --epochs
epochs, whichever is more: a curve from scratch that many labels were given no time for would flatter the pre-training.
The pre-training sees all jets of the training split, without labels, for --epochs epochs. Each training adds a line to
FOLDER/labels.jsonl, one that is there is not made again, and writes FOLDER/labels.md and labels.png anew, with the
factor in labels that pre-training is worth at --at: a number of labels near three times that one belongs to the curve,
or a straight line from 1 000 to 10 000 decides.

With --masking: masked pre-trainings beside each other, by what they rebuild of hidden particles and their jets: uniform
masking and masking by pT, ConservationLoss and MSE, and m² = E² − |p|² of particles and jets as a term of the loss.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import argparse
import itertools
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import torch

from collider.jets.judging.classes import class_figures
from collider.jets.judging.labels import (
    PRETRAINED,
    SCRATCH,
    SHOWN,
    LabelResult,
    add_result,
    label_curve,
    label_table,
    read_results,
    worth,
)
from collider.jets.judging.report import judge
from collider.jets.judging.sources import open_run
from collider.jets.judging.trees import tree_table
from collider.jets.learning.data import PARTICLES, JetDataModule
from collider.jets.learning.invariance import boost, lorentz_violation
from reconstruction import errors
from reconstruction.command import Parser, whole
from reconstruction.files import write_whole
from reconstruction.judging.tables.find import PREDICTIONS
from reconstruction.judging.tables.table import PredictionTable
from reconstruction.models import Encoder
from reconstruction.models.encoders.views import RecordView
from reconstruction.training.command_line.cli import main as command
from reconstruction.training.runs.loading import load_module

ROOT = Path(__file__).parents[1]
BEGIN_WITH = "--fine_tune.checkpoint={pretrained}"
ROWS: dict[str, tuple[str, dict[str, str], list[str]]] = {
    "LorentzParT": ("classify", {}, []),
    "Particle Transformer": ("classify", {"LorentzParticleTransformer": "ParticleTransformer"}, []),
    "slim L-GATr": (
        "classify",
        {"LorentzParticleTransformer": "SlimLorentzTransformer", "        pair_width: 16\n": ""},
        [],
    ),
    "Deep Set": ("deep_set", {}, []),
    "LorentzParT, kinematics": ("classify", {"features: full": "features: kin"}, []),
    "LorentzParT, pre-trained": ("classify", {}, [BEGIN_WITH]),
    "LorentzParT, pre-trained, last two blocks": ("classify", {}, [BEGIN_WITH, "--fine_tune.trainable_layers=2"]),
    "LorentzParT, pre-trained and frozen": ("classify", {}, [BEGIN_WITH, "--fine_tune.trainable_layers=0"]),
}
"""Each with its configuration, what is another in it, and further options."""
BOOSTS = (0.1, 0.5, 0.9)
"""Velocities along x, in units of c."""


def run(*words: str) -> None:
    line = [sys.executable, str(ROOT / "cli.py"), *words]
    done = subprocess.run(line, check=False, cwd=ROOT, stdout=subprocess.DEVNULL)
    if done.returncode:  # it has said why
        raise errors.UserError(f"`python cli.py {words[0]}` ended with {done.returncode}: the same command goes on")


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
    run("fit", "-c", *words, "--figures.every_epochs=0", *going_on(place))
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


MASKINGS: dict[str, list[str]] = {
    "as configured": [],
    "uniform": ["--model.masking.towards_pt=0"],
    "MSE": ["--model.masking.loss=collider.jets.learning.masking.ParticleMSE"],
    "mass shell": ["--model.masking.mass_shell=1"],
    "jet mass": ["--model.masking.jet_mass=1"],
    "mass shell and jet mass": ["--model.masking.mass_shell=1", "--model.masking.jet_mass=1"],
}
"""Pre-trainings, each with its options."""


def pretraining(data: Path, folder: Path, epochs: int, name: str = "as configured") -> Path:
    """Return the checkpoint of a masked pre-training; it is made where it is not there."""
    kind = "" if name == "as configured" else f"_{name.replace(' ', '_')}"
    run_folder = folder / f"pretrain{kind}_{epochs}_epochs"
    finished = run_folder / "finished"
    if not finished.exists():
        run("fit", "-c", "configs/jets/pretrain.yaml", f"--run={run_folder}", f"--data.data={data}",
            f"--trainer.max_epochs={epochs}", "--figures.every_epochs=0", *MASKINGS[name],
            *going_on(run_folder))  # fmt: skip
        finished.touch()
    return run_folder / "checkpoints" / "best.ckpt"


def maskings(data: Path, folder: Path, arguments: argparse.Namespace) -> None:
    """Train the pre-trainings that are chosen, and judge what they rebuild."""
    names = [name for name in MASKINGS if not arguments.only or name in arguments.only]
    runs = [open_run(pretraining(data, folder, arguments.epochs, name).parents[1]) for name in names]
    for name, one in zip(names, runs, strict=True):
        one.module.card["name"] = name
    print(judge(runs, folder))


def going_on(run_folder: Path) -> list[str]:
    """Return what lets a training that was interrupted go on."""
    return ["--resume"] if (run_folder / "checkpoints" / "last.ckpt").exists() else []


# Labels -------------------------------------------------------------------------------------------------------------

BATCH = 64
VALIDATING = 5
"""One label of so many validates."""
CHECKS = 30
"""Validations of a training, about; half as many without a better one end it."""
ALL = None
"""Labels: those of all jets of the two splits."""
WEIGHED = ("accuracy", "auc")
"""What pre-training is worth is said by these figures."""
AVERAGE = 0.9
"""Decay of the average of the weights: that of the configuration hardly moves in the steps that few labels allow."""


def labels(text: str) -> int | None:
    """Return a number of labels, ALL for all of them."""
    return ALL if text == "all" else whole()(text)


def labels_against(data: Path, folder: Path, arguments: argparse.Namespace) -> None:
    """Train what is not in FOLDER/labels.jsonl, write table and curve, and say what pre-training is worth."""
    split = JetDataModule(str(data), particles=1).split
    available = min(len(split.train) * VALIDATING // (VALIDATING - 1), len(split.validation) * VALIDATING)
    everything = len(split.train) + len(split.validation)
    wanted = {everything if count is ALL else count for count in arguments.labels}
    too_many = sorted(count for count in wanted - {everything} if count > available)
    if too_many:
        raise errors.UserError(
            f"--labels names {too_many[0]}, but the jets of {data} have labels for {available}, of which a "
            "fifth validates: name fewer, or make more jets"
        )
    starts = [start for start in (SCRATCH, PRETRAINED) if not arguments.only or start in arguments.only]
    lines = folder / "labels.jsonl"
    done = {one.job for one in read_results(lines)}
    for count, seed, start in itertools.product(sorted(wanted), range(arguments.seeds), starts):
        if (start, count, seed) not in done:
            chosen = None if count == everything else count
            result = of_labels(start, count, seed, chosen, data, folder, arguments)
            add_result(lines, result)
            print(result, flush=True)
            write_labels(read_results(lines), folder, arguments.at)
    print(write_labels(read_results(lines), folder, arguments.at))


def write_labels(results: Sequence[LabelResult], folder: Path, at: int) -> str:
    """Write table and curve of what is there, and return the table."""
    label_curve(results, labels=at).savefig(folder / "labels.png", dpi=150)
    try:
        said = "\n\n".join(f"By {SHOWN[name]}, {worth(results, at, name)}." for name in WEIGHED)
    except errors.UserError as error:  # the table is there all the same
        said = str(error)
    table = f"{label_table(results)}\n\n{said}\n"
    write_whole(folder / "labels.md", table.encode())
    return table


def of_labels(
    start: str, count: int, seed: int, chosen: int | None, data: Path, folder: Path, arguments: argparse.Namespace
) -> LabelResult:
    """Train on a number of labels, all of them where `chosen` is None, and return the figures of the test split."""
    place = folder / f"labels_{start}_{count}_{seed}".replace(" ", "_")
    validating = max(1, count // VALIDATING)
    batches = -(-(count - validating) // BATCH)
    epochs = max(arguments.epochs, round(arguments.steps / batches))
    words = [f"--data.data={data}", f"--trainer.max_epochs={epochs}", f"--seed_everything={seed}",
             f"--data.batch_size={BATCH}", f"--trainer.check_val_every_n_epoch={max(1, epochs // CHECKS)}",
             f"--model.ema_decay={AVERAGE}", f"--early_stopping.patience={CHECKS // 2}",
             "--trainer.enable_progress_bar=false"]  # fmt: skip
    if chosen is not None:
        words += [f"--data.training_jets={count - validating}", f"--data.validation_jets={validating}",
                  f"--data.label_seed={seed}"]  # fmt: skip
    if start == PRETRAINED:
        words.append(BEGIN_WITH.format(pretrained=pretraining(data, folder, arguments.epochs)))
    config = str(ROOT / "configs/jets/classify.yaml")
    for step in (["fit", "-c", config, *words, "--figures.every_epochs=0", *going_on(place)], ["test"]):
        if command([*step, f"--run={place}"]):
            raise errors.UserError("a training was stopped: the same command goes on with it")
    figures = class_figures(PredictionTable.read(place / PREDICTIONS), resamples=0)
    return LabelResult(start, count, seed, {name: figures[name].value for name in SHOWN})


def main() -> None:
    parser = Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--jets", type=int, nargs="*", default=[], help="training jets; none: all")
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--only", nargs="*", default=[])
    parser.add_argument("--folder", type=Path, default=None)
    parser.add_argument(
        "--labels", type=labels, nargs="+", help="numbers of labels, or all: what they are worth, and nothing else"
    )
    parser.add_argument(
        "--masking", action="store_true", help="masked pre-trainings beside each other, and nothing else"
    )
    parser.add_argument("--seeds", type=whole(), default=3, help="trainings for each number of labels")
    parser.add_argument(
        "--steps", type=whole(), default=600, help="steps of each of these trainings, about, or --epochs epochs"
    )
    parser.add_argument("--at", type=whole(), default=1000, help="labels at which pre-training is weighed")
    arguments = parser.parse_args()
    folder = (arguments.folder or Path(tempfile.mkdtemp(prefix="jets-"))).resolve()
    folder.mkdir(parents=True, exist_ok=True)
    data = arguments.data.resolve()
    if arguments.labels is not None:
        labels_against(data, folder, arguments)
        return
    if arguments.masking:
        maskings(data, folder, arguments)
        return
    names = chosen(arguments.only)
    needed = any("pre-trained" in name for name in names)
    pretrained = pretraining(data, folder, arguments.epochs) if needed else Path()
    for jets in arguments.jets or [None]:
        runs = {name: trained(name, data, folder, jets, arguments.epochs, pretrained) for name in names}
        tables = [PredictionTable.read(place / PREDICTIONS).renamed(name) for name, place in runs.items()]
        tables.append(tree_table(JetDataModule(str(data), particles=1, training_jets=jets)))
        print(f"\n{jets or 'all'} training jets, {arguments.epochs} epochs\n{judge(tables, folder)}", flush=True)
        for name, place in runs.items():
            print(f"{name}: change under boosts across the beam, {violation(place, data)}", flush=True)


if __name__ == "__main__":
    errors.run(main)
