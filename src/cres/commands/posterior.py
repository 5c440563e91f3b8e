"""Draw the posterior of electrons with a trained flow, and weigh it with the exact likelihood.

A flow (configs/posterior.yaml) proposes energies, pitch angles and radii of each record; each gets the weight that
makes the sample one of the exact posterior: prior × likelihood over the density that it was drawn from. Common phase,
axial phase and what is not known of the gain are integrated out, as by the estimators of coils.

Examples:
  python scripts/posterior.py --run runs/posterior --data data/coils.hdf5
  python scripts/posterior.py --run runs/posterior --data new.hdf5 --split all --noise-scale 0 -c coils.yaml
  python scripts/endpoint.py --data posterior.hdf5 --calibration calibration.hdf5 --samples samples.hdf5

"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch

from cres import schema
from cres.command import Parser, number, whole
from cres.errors import UserError
from cres.estimation.methods.recordings import FRACTIONS, SPLITS, Recordings, Rows
from cres.estimation.methods.table import to_table
from cres.estimation.methods.task import Task, apparatus_of, config_of, with_gain_std
from cres.estimation.placement import AUTO, choose_device, device_name
from cres.estimation.weighing.exact import ExactPosterior
from cres.estimation.weighing.importance import joined_samples, weighed
from cres.estimation.weighing.table import weighted_estimates
from cres.evaluation.weighted import PRIOR_ENERGY, TOO_FEW, VALUES, WeightedSamples
from cres.paths import path_of, place_of
from cres.progress import waiting
from cres.ranges import COUNT, NOISE_SCALE, SEED, Allowed
from cres.resources import simulation_config
from cres.simulation.config import SimulationConfig
from cres.training.proposal import FlowProposal
from reconstruction.clock import wall_seconds
from reconstruction.judging.tables.splits import LEARNED
from reconstruction.judging.tables.table import PredictionTable
from reconstruction.training.learning.learner import Learner
from reconstruction.training.learning.rows_met import codes_of_content
from reconstruction.training.runs.loading import load_module
from reconstruction.training.runs.predictions import checkpoint_hash

BLOCK, SAMPLES_AT_ONCE = 16, 2**15
"""Electrons whose samples are drawn together, at most, and samples."""
CHECKPOINT = "checkpoints/best.ckpt"
DISPLAY = "flow, weighed"
NOT_ISOTROPIC = (
    "electrons of this apparatus are born along the field line; the prior of the weights is isotropic at its minimum"
)


def main() -> None:
    """Weigh, and say what was written."""
    arguments = command_line().parse_args()
    if arguments.output.resolve() == arguments.samples_file.resolve():
        raise UserError(f"--output and --samples-file are both {arguments.output}: give one of them another name")
    samples, table = posterior(arguments)
    samples.write(arguments.samples_file)
    table.write(arguments.output)
    few = int(samples.too_few.sum())
    print(
        f"{len(samples)} electrons, {arguments.samples} samples each: median efficiency "
        f"{100 * np.median(samples.efficiency):.1f} %, {few} electrons with fewer than {TOO_FEW:g} effective samples"
    )
    print(f"samples {arguments.samples_file}, table {arguments.output}")


def posterior(arguments: argparse.Namespace) -> tuple[WeightedSamples, PredictionTable]:
    """Return the weighted samples of the electrons that are asked for, and their table."""
    if arguments.run is None and arguments.checkpoint is None:
        raise UserError("name the flow: --run FOLDER of a training with configs/posterior.yaml, or --checkpoint FILE")
    checkpoint = arguments.checkpoint or arguments.run / CHECKPOINT
    device = choose_device(arguments.device)
    module = load_module(checkpoint).to(device)
    proposal = FlowProposal(module, arguments.samples, arguments.seed, arguments.defensive)
    named = None if arguments.config is None else SimulationConfig.from_yaml(simulation_config(arguments.config))
    recordings = _recordings(arguments, module, named)
    rows = recordings.rows(arguments.split)[arguments.first :][: arguments.limit]
    if not len(rows):
        raise UserError(f"no electron of the {arguments.split} split is left after --first {arguments.first}")
    task = _task(arguments, module.noise_seed)
    config = with_gain_std(task, named or _config(recordings))
    _require_same_records(recordings, asdict(config.readout), "those of the apparatus")
    if config.ensemble.births != "minimum":
        print(f"note: {NOT_ISOTROPIC}", file=sys.stderr)
    with waiting("making the table of lines"):
        exact = ExactPosterior(apparatus_of(task, config), recordings.noise_model)
    parts, spent = [], 0.0
    together = max(1, min(BLOCK, SAMPLES_AT_ONCE // arguments.samples))
    for part, series in recordings.blocks(rows, together, "weighing"):
        events, there = torch.from_numpy(recordings.records.event_ids[part]), series.to(device)
        begin = wall_seconds(device)
        parts.append(weighed(exact, proposal, there, events))
        spent += wall_seconds(device) - begin
    made_by = checkpoint_hash([checkpoint])
    samples = _finished(joined_samples(parts), recordings, rows, exact, made_by)
    made_with = {**asdict(task), "samples": arguments.samples, "simulation": asdict(config)}
    table = to_table(recordings, rows, weighted_estimates(samples), DISPLAY, spent / len(rows), made_with)
    codes = codes_of_content(module.card, recordings.records.content_hashes())[rows]
    attributes = {LEARNED: True, "checkpoint_hash": made_by, "checkpoint": str(checkpoint)}
    return samples, table.with_columns({schema.SPLIT: codes}).with_attributes(attributes)


def _recordings(arguments: argparse.Namespace, module: Learner, named: SimulationConfig | None) -> Recordings:
    """Return the records, split as the model's data, with noise of the apparatus that is named, or of the data's."""
    known = module.card.get("data", {})
    split = known.get("split", {})
    fractions, seed = tuple(split.get("fractions", FRACTIONS)), int(split.get("seed", 0))
    recordings = Recordings(
        arguments.data,
        arguments.noise_scale,
        module.noise_seed,
        seed,
        (fractions[0], fractions[1], fractions[2]),
        density_w_per_hz=None if named is None else named.readout.density_w_per_hz,
    )
    _require_same_records(recordings, known, "those of the model's training")
    return recordings


def _task(arguments: argparse.Namespace, noise_seed: int) -> Task:
    return Task(
        arguments.data,
        "posterior",
        arguments.split,
        arguments.first,
        arguments.limit,
        noise_scale=arguments.noise_scale,
        noise_seed=noise_seed,
        gain_std=arguments.gain_std,
        device=arguments.device,
    )


def _config(recordings: Recordings) -> SimulationConfig:
    """Return the apparatus of the data. Raises UserError where they do not tell."""
    config = config_of(recordings)
    if config is None:
        raise UserError(
            f"{recordings.records.files[0].path} does not say of which trap and cavity its records are: name a file of "
            "yours or one of configs/simulation/ with -c"
        )
    return config


def _require_same_records(recordings: Recordings, known: Mapping[str, Any], whose: str) -> None:
    """Raise UserError where the records are of another length or rate than those that are known."""
    records = recordings.records
    facts = {"samples": records.samples, "sampling_rate_hz": records.sampling_rate_hz}
    for name, value in facts.items():
        if name in known and float(known[name]) != float(value):
            raise UserError(f"the records have {name} {value:.10g}, {whose} {float(known[name]):.10g}")


def _finished(
    samples: WeightedSamples, recordings: Recordings, rows: Rows, exact: ExactPosterior, made_by: str
) -> WeightedSamples:
    """Return the samples with truth and ancestry."""
    held = recordings.records.scalar_columns
    truth = {
        name: recordings.truth(column, rows)
        for name, column in zip(VALUES, schema.TRUTH_COLUMNS, strict=True)
        if column in held
    }
    attributes = {PRIOR_ENERGY: json.dumps(exact.apparatus.energies_ev), "checkpoint_hash": made_by}
    return WeightedSamples(samples.event_id, samples.values, samples.log_weight, truth, attributes)


def command_line() -> Parser:
    """Return the command line."""
    parser = Parser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="Next step: python scripts/evaluate.py posterior.hdf5",
    )
    add = parser.add_argument
    model = parser.add_mutually_exclusive_group()
    model.add_argument("--run", type=path_of, metavar="FOLDER", help="run of the flow; its best checkpoint is taken")
    model.add_argument("--checkpoint", type=path_of, metavar="FILE", help="checkpoint of a flow")
    add("--data", nargs="+", type=place_of, default=["data/cres.hdf5"], help="files, folders or globs of records")
    add("--output", type=path_of, default=Path("posterior.hdf5"), help="predictions table to write (%(default)s)")
    add(
        "--samples-file",
        type=path_of,
        default=Path("samples.hdf5"),
        help="weighted samples to write: values and ln of the weight of each (%(default)s)",
    )
    add("--samples", type=whole(Allowed(2, 1e6)), default=1000, help="samples of each electron (%(default)s)")
    add("--split", choices=SPLITS, default="test", help="which electrons, split as the model's data (%(default)s)")
    add("--first", type=whole(COUNT), default=0, help="electrons of the split to skip")
    add("--limit", type=whole(), default=None, help="at most so many electrons")
    add(
        "-c",
        "--config",
        type=path_of,
        default=None,
        help="apparatus: a YAML file, or the name of one in configs/simulation/ (default: that of the data)",
    )
    add(
        "--noise-scale",
        type=number(NOISE_SCALE),
        default=1.0,
        help="noise power over nominal; 0: the records carry their own (%(default)s)",
    )
    add(
        "--gain-std",
        type=number(Allowed(0, 1, below=True)),
        default=None,
        help="relative standard deviation of what is known of the power gain (default: the apparatus's)",
    )
    add("--seed", type=whole(SEED), default=0, help="seed of the samples, keyed by event (%(default)s)")
    add(
        "--defensive",
        type=number(Allowed(0, 1, below=True)),
        default=0.1,
        help="share of the samples from Gaussians three times as wide, which bound the weights (%(default)s)",
    )
    add("--device", type=device_name, default=AUTO, help="cpu, cuda, cuda:NUMBER, or auto: the GPU where there is one")
    return parser
