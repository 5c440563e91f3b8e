"""How well records are told apart: no electron, one, two at once, one that scattered; against the matched filter.

    python benchmarks/classification.py                  14 000 short records, one core, some ten minutes
    python benchmarks/classification.py --samples 8192 --records 60000 --steps 20000
    python benchmarks/classification.py --pretrained runs/pretrain/checkpoints/best.ckpt

Simulates records of all kinds (short ones with a quarter of the default's noise density, so that a record has the
default's signal-to-noise ratio), trains configs/classify.yaml on them, and judges the test split. Detection: the
network's probability that there is an electron, against the matched filter's statistic, both at the threshold that a
share of the records without one passes. Two or one: the network's probability of two rather than one, against the
matched filter's statistic of what is left of a record when the lines of the first electron found are cut out; both at
the threshold that a share of the records with one passes. The same command goes on where it was stopped.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import argparse
import dataclasses
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
import yaml
from numpy.typing import NDArray
from torch import Tensor

from cres import errors, schema
from cres.data.module import CresDataModule
from cres.estimation.apparatus import Apparatus
from cres.estimation.search.matched_filter import MatchedFilter
from cres.evaluation.resolved import RESOLVED
from cres.simulation import SimulationConfig
from cres.simulation.kinds_config import Kind, KindsConfig
from cres.transforms import FROZEN_EPOCH
from cres.transforms.spectrum import to_complex
from reconstruction.command import Parser
from reconstruction.judging.tables.table import PredictionTable
from reconstruction.training.command_line.cli import main as command
from reconstruction.training.runs.loading import load_module

ROOT = Path(__file__).parents[1]
KINDS = tuple(kind.name.lower() for kind in Kind)
NOISE_K = 5.8843
HARMONICS, NOTCH_BINS = 8, 3
"""Lines of the first electron that are cut out, on either side of its carrier, and bins on either side of each."""
LINE_WIDTHS = 20
FALSE_ALARMS = (0.01, 0.1)
Values = NDArray[np.float64]


def simulation(samples: int) -> dict[str, object]:
    """Return the configuration of the records."""
    return {
        "kinds": dict.fromkeys(KINDS, 1.0),
        "scattering": {"density_per_m3": 3.4e18},
        "readout": {"samples": samples, "noise_temperature_k": NOISE_K * samples / 8192},
    }


def make_records(folder: Path, samples: int, records: int) -> Path:
    """Simulate and prepare; what is there stays."""
    data, config, raw = (folder / name for name in ("kinds.hdf5", "simulation.yaml", "raw"))
    folder.mkdir(parents=True, exist_ok=True)
    text = yaml.safe_dump(simulation(samples))
    if data.exists() and config.read_text() != text:
        raise errors.UserError(f"{folder} holds records of another length: choose another --folder")
    config.write_text(text)
    if not data.exists():
        made = ("--events", str(records), "--seed", "77", "-c", str(config), "--output", str(raw))
        prepared = ("--input", str(raw), "--output", str(data))
        for step in (("scripts/simulate.py", *made), ("scripts/data_prep.py", *prepared)):
            subprocess.run([sys.executable, *step], cwd=ROOT, check=True)
    return data


def train(data: Path, run: Path, steps: int, records: int, pretrained: str | None) -> PredictionTable:
    """Train and test; a training that is done is not done again."""
    table = run / "predictions.hdf5"
    quiet = ["--trainer.enable_progress_bar=false"]
    split = ["--data.fractions=[0.6,0.1,0.3]"]
    if not table.exists():
        epochs = max(1, round(steps / (0.6 * records / 32)))
        options = [f"--data.data={data}", f"--run={run}", f"--trainer.max_epochs={epochs}", *split, *quiet]
        options += ["--figures.every_epochs=0"] + ([f"--fine_tune.checkpoint={pretrained}"] if pretrained else [])
        if command(["fit", "-c", str(ROOT / "configs" / "classify.yaml"), *options]):
            raise errors.UserError("the training was stopped")
        command(["test", f"--run={run}", *quiet])
    return PredictionTable.read(table)


# The matched filter ------------------------------------------------------------------------------------------------


def statistics(data: Path, run: Path, samples: int, event_id: NDArray[np.int64]) -> tuple[Values, Values]:
    """Return the statistic of each record, and that of what is left of it without its first electron's lines.

    The records have the noise that the network saw.
    """
    kept = run / f"matched_filter_{len(event_id)}.npz"
    if not kept.exists():
        config = SimulationConfig.from_dict(simulation(samples))
        search = MatchedFilter(Apparatus.from_config(dataclasses.replace(config, kinds=KindsConfig())))
        first, second = zip(*(_of_batch(search, noisy) for noisy in _noisy(data, run, event_id)), strict=True)
        np.savez(kept, first=np.concatenate(first), second=np.concatenate(second))
    stored = np.load(kept)
    return stored["first"], stored["second"]


def _noisy(data: Path, run: Path, event_id: NDArray[np.int64]) -> Iterator[Tensor]:
    """Yield batches of the records with the noise of the test, (batch, samples) complex."""
    model = load_module(run / "checkpoints" / "best.ckpt")
    source = CresDataModule(str(data), targets=("record_kind",), batch_size=64)
    order = np.argsort(source.records.event_ids)
    rows = order[np.searchsorted(source.records.event_ids, event_id, sorter=order)]
    for batch in source.rows_dataloader(rows):
        yield to_complex(model.inject(batch, FROZEN_EPOCH)["inputs"]["series"].double())[:, :, 0]


@torch.no_grad()
def _of_batch(search: MatchedFilter, noisy: Tensor) -> tuple[Values, Values]:
    found = search(noisy)
    place = found.templates.statistic.argmax(dim=1, keepdim=True)
    axial_hz = found.templates.bank.axial_hz[found.templates.template.gather(1, place)[:, 0]]
    rest = without_lines(noisy, found.carrier_hz, axial_hz, search.apparatus.reception.sampling_rate_hz)
    return found.statistic.numpy(), search.statistic(rest).numpy()


def without_lines(records: Tensor, carrier_hz: Tensor, axial_hz: Tensor, sampling_rate_hz: float) -> Tensor:
    """Return records without the bins around a carrier and its sidebands."""
    samples = records.shape[1]
    frequency = torch.fft.fftfreq(samples, 1 / sampling_rate_hz, dtype=torch.float64)
    lines = carrier_hz[:, None] + axial_hz[:, None] * torch.arange(-HARMONICS, HARMONICS + 1, dtype=torch.float64)
    distance = (frequency[None, :, None] - lines[:, None, :]).abs().amin(dim=2)
    kept = distance > NOTCH_BINS * sampling_rate_hz / samples
    return torch.fft.ifft(torch.fft.fft(records, dim=1) * kept, dim=1)


# What is shown ------------------------------------------------------------------------------------------------------


def at_false_alarms(score: Values, negative: NDArray[np.bool_], share: float) -> NDArray[np.bool_]:
    """Return who passes the threshold that this share of the negative ones passes."""
    return score > np.quantile(score[negative], 1 - share)


def cell(passed: NDArray[np.bool_], chosen: NDArray[np.bool_]) -> str:
    """Return a share in percent with its binomial error."""
    part = passed[chosen].mean() if chosen.any() else np.nan
    return f"{100 * part:.1f} ± {100 * np.sqrt(part * (1 - part) / max(chosen.sum(), 1)):.1f}"


def main() -> None:
    parser = Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=int, default=2048, help="samples of a record (default 2048)")
    parser.add_argument("--records", type=int, default=14_000, help="records of all kinds (default 14 000)")
    parser.add_argument("--steps", type=int, default=2_000, help="steps of the training (default 2 000)")
    parser.add_argument("--folder", type=Path, help="where everything goes (default: runs/classification_SIZES)")
    parser.add_argument("--pretrained", help="checkpoint whose encoder is fine-tuned")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    sizes = f"classification_{arguments.samples}_{arguments.records}_{arguments.steps}"
    folder = (arguments.folder or ROOT / "runs" / sizes).resolve()
    data = make_records(folder, arguments.samples, arguments.records)
    run = folder / ("pre_trained" if arguments.pretrained else "from_scratch")
    table = train(data, run, arguments.steps, arguments.records, arguments.pretrained)
    print(report(table, *statistics(data, run, arguments.samples, table.event_id), arguments.samples))


def report(table: PredictionTable, first: Values, rest: Values, samples: int) -> str:
    """Return the tables as Markdown."""
    kind, said = table.truth("record_kind").astype(int), table.probabilities()
    with np.errstate(divide="ignore"):
        electron = -np.log(said[:, Kind.NONE])
        two = np.log(said[:, Kind.TWO]) - np.log(said[:, Kind.ONE])
    snr, resolved = table.column("signal_snr"), table.column("sideband_snr") >= RESOLVED.minimum
    lines = [f"{len(kind)} test records", "", "| true \\ told | " + " | ".join(KINDS) + " |", "|---" * 5 + "|"]
    for row in Kind:
        cells = [cell(said.argmax(axis=1) == told, kind == row) for told in Kind]
        lines.append(f"| {KINDS[row]} ({(kind == row).sum()}) | " + " | ".join(cells) + " |")
    lines += ["", "| detected at false alarms of | of | network % | matched filter % |", "|---" * 4 + "|"]
    weak = {"SNR below 20": snr < 20, "SNR 20 to 60": (snr >= 20) & (snr < 60), "all": snr >= 0}
    for share in FALSE_ALARMS:
        passed = [at_false_alarms(score, kind == Kind.NONE, share) for score in (electron, first)]
        for words, chosen in weak.items():
            shares = " | ".join(cell(one, chosen & (kind == Kind.ONE)) for one in passed)
            lines.append(f"| {100 * share:g} % | one electron, {words} | {shares} |")
        for other in (Kind.TWO, Kind.SCATTERED):
            shares = " | ".join(cell(one, kind == other) for one in passed)
            lines.append(f"| {100 * share:g} % | {KINDS[other]} | {shares} |")
    apart = np.abs(table.column(schema.prediction_name("carrier_separation_Hz"))) * samples / 403e6
    second = table.column("second_sideband_snr") >= RESOLVED.minimum
    wide = (kind == Kind.TWO) & (apart >= LINE_WIDTHS)
    groups = {
        "two": kind == Kind.TWO,
        f"two, {LINE_WIDTHS} line widths apart": wide,
        f"two, {LINE_WIDTHS} line widths apart, both resolved": wide & resolved & second,
        f"two, closer than {LINE_WIDTHS} line widths, both resolved": (kind == Kind.TWO) & ~wide & resolved & second,
    }
    lines += ["", "| two told from one, of which so many are called two | of | network % | filter of the rest % |"]
    lines.append("|---" * 4 + "|")
    for share in FALSE_ALARMS:
        passed = [at_false_alarms(score, kind == Kind.ONE, share) for score in (two, rest)]
        for words, chosen in groups.items():
            shares = " | ".join(cell(one, chosen) for one in passed)
            lines.append(f"| {100 * share:g} % | {words} ({chosen.sum()}) | {shares} |")
    return "\n".join(lines)


if __name__ == "__main__":
    errors.run(main)
