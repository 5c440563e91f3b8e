"""One network for a plane of apparatus, trap wall length against noise temperature: 12 trained, 6 held out, 4 outside.

    python benchmarks/conditioned.py                    small, for two cores; with --only STEP one of its steps
    python benchmarks/conditioned.py --full             5 000 electrons at every judged setting, for a GPU

Makes the electrons, runs the stages of configs/stages/wall_and_noise.yaml (each apparatus alone, their average, all
together; beside it all together from the start), trains dedicated networks of a quarter of the joint steps each, tunes
the joint network to one setting outside of its range, computes the bound, and prints one table: error over the bound
and coverage at every setting, of resolved electrons and of all. What is there is not made again.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import yaml

from cres import errors
from reconstruction.command import Parser
from reconstruction.judging.measures.by_setting import SettingRow, by_setting, settings_named
from reconstruction.judging.measures.comparison import Comparison, compare
from reconstruction.judging.report.page import write_report
from reconstruction.judging.report.settings_section import measure_of, setting_lines, settings_section
from reconstruction.judging.tables.find import read_table
from reconstruction.judging.tables.table import PredictionTable

ROOT = Path(__file__).parents[1]
GRIDS = ROOT / "configs" / "simulation" / "grids"
STAGES = ROOT / "configs" / "stages" / "wall_and_noise.yaml"
DESIGNS = {"spread": "wall_and_noise_spread", "grid": "wall_and_noise"}
"""Twelve walls with a temperature each, or three walls with four."""
STEPS = ("data", "stages", "dedicated", "tuned", "bound", "table")
JOINT = ("together", "scratch")


@dataclass(frozen=True)
class Size:
    """How large it is: electrons that an apparatus is trained and judged on, epochs, and which get a dedicated network.

    The stages see epochs[0] of each apparatus alone, then epochs[1] of all; from scratch their sum. A dedicated network
    takes a quarter of the joint steps, so that the joint training costs a third of twelve.
    """

    trained: int
    judged: int
    epochs: tuple[int, int]
    dedicated: tuple[int, ...]
    tuned: int

    @property
    def joint(self) -> int:
        """Epochs of all apparatus from scratch."""
        return sum(self.epochs)

    @property
    def of_dedicated(self) -> int:
        """Epochs of a dedicated network: of its own electrons, a twelfth of all."""
        return 12 * self.joint // 4


SMALL = Size(4000, 1500, (2, 3), (0, 4, 7, 11), 1000)
SMALLER = (
    "--model.encoders.spectrum.init_args.width=32",
    "--model.encoders.spectrum.init_args.depth=2",
)
"""The network of two cores."""
FULL = Size(16_000, 5000, (6, 30), tuple(range(12)), 2000)


def run(*words: object) -> None:
    """Run a program of the project; it says itself what is wrong."""
    done = subprocess.run([sys.executable, *map(str, words)], cwd=ROOT, check=False)
    if done.returncode:
        raise errors.UserError(f"{words[0]} ended with exit code {done.returncode}")


@dataclass(frozen=True)
class Plane:
    """The benchmark in one folder."""

    folder: Path
    size: Size
    options: tuple[str, ...]
    design: str = DESIGNS["spread"]
    """Grid of the apparatus to train on."""

    def data(self) -> None:
        """Make the electrons: for training, for judging at the same settings, and at settings that no training sees."""
        grids = (
            ("trained", self.design, self.size.trained, 1),
            ("tested", self.design, self.size.judged, 2),
            ("held_out", "wall_and_noise_held_out", self.size.judged, 3),
            ("to_tune", "wall_and_noise_held_out", self.size.tuned, 4),
        )
        for name, grid, events, seed in grids:
            raw = self.folder / "raw" / name
            task = ["--task", "7/10"] if name == "to_tune" else []
            made = ["--events", events, "--output", raw, "--seed", seed, *task]
            run("scripts/simulate.py", "--grid", GRIDS / f"{grid}.yaml", *made)
            for point in sorted(raw.glob("[0-9]*")):
                file = self.folder / "data" / name / f"{point.name}.hdf5"
                if not file.exists():
                    run("scripts/data_prep.py", "--input", point, "--output", file)

    def fit_options(self) -> list[str]:
        """Return what every training is given."""
        return ["--data.fractions=[0.9,0.1,0.0]", "--trainer.enable_progress_bar=false", *self.options]

    def stages(self) -> None:
        """Run the stages with the epochs of this size, and predict with the two joint networks."""
        data = [f"--data.data={self.folder / 'data' / 'trained'}"]
        written = yaml.safe_load(STAGES.read_text())
        written["base"] = str((STAGES.parent / written["base"]).resolve())
        epochs = {"apart": self.size.epochs[0], "together": self.size.epochs[1], "scratch": self.size.joint}
        for name, count in epochs.items():
            written["stages"][name]["options"]["trainer.max_epochs"] = count
        stages = self.folder / "stages.yaml"
        stages.write_text(yaml.safe_dump(written, sort_keys=False))
        run("scripts/stages.py", stages, f"--run={self.folder / 'stages'}", *data, *self.fit_options())
        for name in JOINT:
            self.predict(self.folder / "stages" / name, ("tested", "held_out"))

    def predict(self, run_folder: Path, sets: tuple[str, ...], files: tuple[int, ...] = ()) -> None:
        """Write the table of a network on the electrons that judge, or on those of some settings."""
        table = run_folder / "judged.hdf5"
        paths = [path for name in sets for path in sorted((self.folder / "data" / name).glob("*.hdf5"))]
        paths = [paths[place] for place in files] or paths
        if not table.exists():
            data = json.dumps([str(path) for path in paths])
            run("cli.py", "predict", f"--run={run_folder}", f"--data.data={data}", f"--predictions={table}")

    def dedicated(self) -> None:
        """Train the dedicated networks, each on one apparatus, and predict with each its own setting."""
        for place in self.size.dedicated:
            folder = self.folder / "dedicated" / f"{place:03d}"
            data = [f"--data.data={self.folder / 'data' / 'trained' / f'{place:03d}.hdf5'}"]
            if not (folder / "judged.hdf5").exists():
                begun = ["--resume"] if (folder / "checkpoints" / "last.ckpt").exists() else []
                epochs = [f"--trainer.max_epochs={self.size.of_dedicated}", "--early_stopping.patience=1000"]
                run(
                    "cli.py",
                    "fit",
                    "-c",
                    "configs/s4d.yaml",
                    f"--run={folder}",
                    *data,
                    *epochs,
                    *begun,
                    *self.fit_options(),
                )
            self.predict(folder, ("tested",), (place,))

    def tuned(self) -> None:
        """Tune the joint network to one setting outside of the trained range, from a few electrons."""
        folder, start = self.folder / "tuned", self.folder / "stages" / "scratch" / "checkpoints" / "best.ckpt"
        if not (folder / "judged.hdf5").exists():
            tune = [f"--fine_tune.checkpoint={start}", "--fine_tune.whole=true", "--model.optimiser.lr=1e-3"]
            data = [
                f"--data.data={self.folder / 'data' / 'to_tune'}",
                "--data.balanced=false",
                "--trainer.max_epochs=20",
            ]
            run(
                "cli.py",
                "fit",
                "-c",
                "configs/many_apparatus.yaml",
                f"--run={folder}",
                *data,
                *tune,
                *self.fit_options(),
            )
        self.predict(folder, ("held_out",), (7,))

    def bound(self) -> None:
        """Compute the Cramér–Rao bound of the electrons that judge, apparatus by apparatus."""
        for name in ("tested", "held_out"):
            for file in sorted((self.folder / "data" / name).glob("*.hdf5")):
                table = self.folder / "bound" / f"{name}_{file.name}"
                if not table.exists():
                    run("scripts/estimate.py", "--method", "bound", "--split", "all", "--data", file, "--output", table)

    def table(self) -> None:
        """Print the figures as Markdown, and write a report."""
        bound = read_table(self.folder / "bound")
        joint = {
            said: PredictionTable.read(self.folder / "stages" / name / "judged.hdf5").renamed(said)
            for name, said in (("scratch", "joint"), ("together", "stages"))
        }
        whole = compare([*joint.values(), bound])
        names = settings_named(whole)
        rows = by_setting(whole, whole.targets[0], names)
        print("\n".join(setting_lines(whole, rows)))
        print(markdown(whole, rows, names))
        alone = {f"dedicated {place:03d}": f"dedicated/{place:03d}" for place in self.size.dedicated}
        for said, folder in (alone | {"tuned": "tuned"}).items():
            table = self.folder / folder / "judged.hdf5"
            if table.exists():
                one = compare([*joint.values(), PredictionTable.read(table).renamed(said), bound])
                print(markdown(one, by_setting(one, one.targets[0], names), names))
        section = settings_section(whole, rows, names)
        print(write_report(list(joint.values()), self.folder / "report", bound=bound, sections=[section]))
        print((self.folder / "stages" / "stages.json").read_text())
        averaging = json.loads((self.folder / "stages" / "average" / "finished.json").read_text())["averaging"]
        print(averaging["in_words"])


def markdown(comparison: Comparison, rows: Sequence[SettingRow], names: Sequence[str]) -> str:
    """Return a table: at each setting and for each group the ratio and the coverage of every estimator."""
    estimators = [table.estimator for table in comparison.tables]
    heads = [*names, "where", "group", "electrons"]
    for name in estimators:
        heads += [f"{name}: {measure_of(comparison, comparison.targets[0])}", "coverage %", "error bar eV"]
    lines = [f"| {' | '.join(heads)} |", "|" + "---|" * len(heads)]
    for row in rows:
        cells = [*(f"{value:g}" for value in row.setting), row.where, row.group, str(row.count)]
        for ratio, (share, error), std in zip(row.ratio, row.coverage, row.std, strict=True):
            half = (ratio.high - ratio.low) / 2
            cells += [f"{ratio.value:.2f} ± {half:.2f}", f"{100 * share:.1f} ± {100 * error:.1f}", f"{std:.3f}"]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Run the steps."""
    parser = Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--full", action="store_true", help="the size that the figures are asked at")
    parser.add_argument("--folder", type=Path, default=Path("runs/conditioned"), help="where everything goes")
    parser.add_argument("--design", choices=DESIGNS, default="spread", help="twelve walls, or three with four each")
    parser.add_argument("--only", choices=STEPS, help="one step alone")
    arguments, others = parser.parse_known_args()
    size = FULL if arguments.full else SMALL
    others = [*(("--data.batch_size=64",) if size is FULL else SMALLER), *others]
    plane = Plane(arguments.folder.absolute(), size, tuple(others), DESIGNS[arguments.design])
    began, cpu = time.time(), os.times()
    for step in STEPS:
        if arguments.only in (None, step):
            getattr(plane, step)()
            now = os.times()
            spent = now.children_user + now.user - cpu.children_user - cpu.user
            print(f"{step}: {time.time() - began:.0f} s, {spent:.0f} s of processor", flush=True)


if __name__ == "__main__":
    np.seterr(all="ignore")
    errors.run(main)
