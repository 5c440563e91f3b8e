"""The rows of `benchmarks/gpu.py` that run in its process: functions of a `Bench` that return figures by name,
or raise NotRun.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from torch import Tensor

from cres import schema
from cres.data.electrons import SERIES
from cres.data.records import open_records
from cres.estimation.bound.electrons import electron_bounds
from cres.estimation.fit.products import ROWS_AT_ONCE
from cres.estimation.fit.seeded import Seed, SeededEstimator
from cres.estimation.methods.model import likelihood_estimator, true_parameters
from cres.estimation.methods.recordings import Recordings
from cres.estimation.methods.task import BLOCK, FIT_BLOCK, Task, config_of
from cres.simulation.forward import CURVES_BLOCK, SAMPLES_AT_ONCE
from cres.training.online import Online
from cres.transforms import KeyedRandom
from gpu_bench import Bench, NotRun, peak_bytes, replayed, wait
from reconstruction.judging.tables.table import PredictionTable
from reconstruction.models import GaussianMixture, S4DEncoder
from reconstruction.models.encoders.s4d_kernel import s4d_kernel
from reconstruction.models.encoders.s4d_layer import StateSpace
from reconstruction.models.precision import exact_convolutions
from reconstruction.training.watching.counting import OperationCount, saved_bytes
from s4d import direct_kernel, encoder

NOISE_VOLT = 0.0471
SEED_ERRORS = (0.1, 2e-3)
"""eV and degrees."""


# Counts ------------------------------------------------------------------------------------------------------------


class Step:
    """A training step of the default model: noise, network, backward pass, clipping, optimiser.

    replayed: as trainings on a GPU take it, network and backward pass as CUDA graphs.
    """

    def __init__(self, bench: Bench, replayed: bool = False) -> None:
        self.module = bench.module
        self.module.train()
        self.objective = self.module.captured_objective() if replayed else None
        self.optimiser = self.module.make_optimiser()
        self.weights = [weight for weight in self.module.parameters() if weight.requires_grad]

    def __call__(self, batch: dict[str, Any]) -> Tensor:
        """Take it; return the loss."""
        self.optimiser.zero_grad()
        noisy = self.module.inject(batch, 0)
        loss = self.module.objective(noisy, batch)[0] if self.objective is None else self.objective(noisy)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.weights, 1.0)
        self.optimiser.step()
        return loss


def operations(bench: Bench) -> dict[str, float]:
    """Operations, waits and bytes of a training step and of a prediction of the default."""
    size = bench.size(32, 4)
    step, batch = Step(bench), bench.batch(size)
    step(batch)
    with OperationCount() as training:
        step(batch)
    reconstructor = bench.module.reconstructor.eval()
    with torch.inference_mode():
        _predict(reconstructor, batch["inputs"][SERIES])
        with OperationCount() as prediction:
            _predict(reconstructor, batch["inputs"][SERIES])
    return {
        "training step, operations": training.operations,
        "training step, host waits": training.host_waits,
        "training step, MB moved an electron": training.bytes_moved / size / 1e6,
        "prediction, operations": prediction.operations,
        "prediction, host waits": prediction.host_waits,
        "prediction, MB moved an electron": prediction.bytes_moved / size / 1e6,
    }


def memory(bench: Bench) -> dict[str, float]:
    """What six layers of width 128 keep for their backward pass, beside the plain form with its direct kernel."""
    batch, length, width, state, depth = (bench.size(*sizes) for sizes in SIX_LAYERS)
    batch = min(batch, 2)
    series = torch.randn(batch, length, 2, device=bench.device)
    kept = {}
    for name, direct in (("this package", False), ("plain form", True)):
        model = encoder(width, state, depth, direct).to(bench.device)
        kept[name] = saved_bytes(lambda model=model: model(series).square().mean())  # type: ignore[misc]
    figures = {f"{name}, MB an electron": value / batch / 1e6 for name, value in kept.items()}
    return {**figures, "share": kept["this package"] / kept["plain form"]}


# Rates -------------------------------------------------------------------------------------------------------------


def noise(bench: Bench) -> dict[str, float]:
    """Keyed noise of 1 024 records beside torch's own."""
    records, samples = bench.size(1024, 4), bench.size(8192, 256)
    random = KeyedRandom(0, 0, torch.arange(records), bench.device)
    keyed = bench.time(lambda: random.normal(samples, 2, stream="noise"))
    plain = bench.time(lambda: torch.randn(records, samples, 2, device=bench.device))
    return {"keyed, ms": 1e3 * keyed, "torch.randn, ms": 1e3 * plain, "ratio": keyed / plain}


def electrons(bench: Bench) -> dict[str, float]:
    """Electrons made on the device, records of 8 192 samples."""
    source, count = bench.source(), bench.size(8192, 4)
    starts = source.start_values(1, 0, count)
    rate = count / bench.time(lambda: source.records(starts))
    drawn = count / bench.time(lambda: source.start_values(1, 0, count))
    return {"electrons/s": rate, "start values drawn on the host/s": drawn}


def training(bench: Bench) -> dict[str, float]:
    """Training of the default: from memory, and on electrons made on the device."""
    size = bench.size(1024, 4)
    batch = bench.batch(size)
    steps = {"": Step(bench, replayed=True), "launch by launch, ": Step(bench)}

    def rate(step: Step, count: int, made: Callable[[], dict[str, Any]]) -> float:
        for _ in range(3):  # a layout is captured when it comes again
            step(made())
        return count / bench.time(lambda: step(made()))

    figures = {}
    for how, step in steps.items():
        for count in (size // 4, size):
            held = _part(batch, count)
            figures[f"{how}from memory, batch {count}, electrons/s"] = rate(step, count, lambda held=held: held)  # type: ignore[misc]
    try:
        source = bench.source()
    except NotRun:
        return {**figures, "made on the device, electrons/s": float("nan")}
    for how, step in steps.items():
        made = rate(step, size, lambda: bench.made(source(1, 0, size)))
        figures[f"{how}made on the device, batch {size}, electrons/s"] = made
    return figures


def compiled_training(bench: Bench) -> dict[str, float]:
    """The same with the network captured: seconds to compile, and the rate."""
    if bench.small:
        raise NotRun("a processor without a compiler need not try it; tests compile the layers")
    size = 1024
    step, batch = Step(bench), bench.batch(size)
    for part in bench.module.reconstructor.fusion.encoders.values():
        assert isinstance(part, S4DEncoder)
        for layer in part.layers:
            layer.compile(mode="max-autotune-no-cudagraphs")
    started = time.perf_counter()
    step(batch)
    wait(bench.device)
    compiling = time.perf_counter() - started
    rate = size / bench.time(lambda: step(batch))
    del bench.module
    return {"seconds to compile": compiling, f"from memory, batch {size}, electrons/s": rate}


def _part(batch: dict[str, Any], size: int) -> dict[str, Any]:
    """Return the first rows of a batch: of each of its tensors, and of those that it holds by name."""
    return {name: _part(values, size) if isinstance(values, dict) else values[:size] for name, values in batch.items()}


def _predict(reconstructor: torch.nn.Module, volts: Tensor) -> tuple[Tensor, Tensor]:
    distribution = reconstructor(volts)
    assert isinstance(distribution, GaussianMixture)
    return distribution.estimate, distribution.error_bar


def prediction(bench: Bench) -> dict[str, float]:
    """From volts to estimates and error bars on the host: replayed, as `Model.online` does it, and launch by launch."""
    reconstructor = bench.module.reconstructor.eval()
    online = Online(bench.module, bench.device)
    figures = {}
    for size in (1, 64, bench.size(4096, 8)):
        volts = NOISE_VOLT * torch.randn(size, 8192, 2, device=bench.device)
        took = bench.time(lambda volts=volts: online(volts))  # type: ignore[misc]
        figures |= {f"batch {size}, ms": 1e3 * took, f"batch {size}, electrons/s": size / took}
        with torch.inference_mode(), exact_convolutions():
            took = bench.time(lambda volts=volts: [part.cpu() for part in _predict(reconstructor, volts)])  # type: ignore[misc]
        figures[f"launch by launch, batch {size}, ms"] = 1e3 * took
    return figures


# Layers ------------------------------------------------------------------------------------------------------------

SIX_LAYERS = ((64, 2), (8192, 256), (128, 8), (64, 8), (6, 2))
"""Batch, samples, width, state, depth: in full and small."""


def kernel(bench: Bench) -> dict[str, float]:
    """The S4D kernel beside the direct form, forward and backward; both also as CUDA graphs, as trainings have them."""
    width, state = bench.size(128, 8), bench.size(64, 8)
    layer = StateSpace(width, state, bidirectional=False).to(bench.device)
    figures = {}
    for length in (8192, 65_536) if not bench.small else (256,):
        took = {}
        for form in (s4d_kernel, direct_kernel):

            def step(form: Callable[..., Tensor] = form, length: int = length) -> None:
                layer.zero_grad()
                made = form(torch.view_as_complex(layer.c)[0], *layer.dynamics(), length)
                made.backward(torch.ones_like(made))

            took[form.__name__, "launch by launch"] = bench.time(step)
            took[form.__name__, "replayed"] = bench.time(replayed(step, bench.device))
        for how in ("replayed", "launch by launch"):
            ours, direct = took["s4d_kernel", how], took["direct_kernel", how]
            figures |= {f"{length}, {how}, ms": 1e3 * ours, f"{length}, {how}, direct, ms": 1e3 * direct}
            figures[f"{length}, {how}, ×"] = direct / ours
    return figures


def six_layers(bench: Bench) -> dict[str, float]:
    """A step of six layers beside the real FFTs that it needs, in float32 and bf16; its peak memory."""
    batch, length, width, state, depth = (bench.size(*sizes) for sizes in SIX_LAYERS)
    model = S4DEncoder(2, width, state, depth, bidirectional=False).to(bench.device)
    optimiser = torch.optim.AdamW(model.parameters(), fused=True)
    series = torch.randn(batch, length, 2, device=bench.device)

    def step(kind: torch.dtype | None = None) -> None:
        optimiser.zero_grad()
        context = torch.autocast(bench.device.type, kind) if kind else contextlib.nullcontext()
        with context:
            loss = model(series).square().mean()
        loss.backward()
        optimiser.step()

    values = torch.randn(batch, width, length, device=bench.device)
    spectrum = torch.fft.rfft(values, n=2 * length)

    def transforms() -> None:
        for _ in range(depth):  # forward: one each way; backward: two there, one back
            for _ in range(3):
                torch.fft.rfft(values, n=2 * length)
            for _ in range(2):
                torch.fft.irfft(spectrum, n=2 * length)

    full, half, fft = bench.time(step), bench.time(lambda: step(torch.bfloat16)), bench.time(transforms)
    return {
        "float32, ms": 1e3 * full,
        "bf16, ms": 1e3 * half,
        "its FFTs, ms": 1e3 * fft,
        "float32 over FFTs": full / fft,
        "bf16 over FFTs": half / fft,
        "float32, GB": peak_bytes(step, bench.device) / 1e9,
        "bf16, GB": peak_bytes(lambda: step(torch.bfloat16), bench.device) / 1e9,
    }


# The rest of the package -------------------------------------------------------------------------------------------


def estimators(bench: Bench) -> dict[str, float]:
    """Likelihood, seeded likelihood and bound, ms an electron of a block, after one block that warms the device up."""
    size = bench.size(1024, 4)
    steps = _estimators(bench, size)
    return {f"{name}, ms an electron": 1e3 * bench.time(step) / size for name, step in steps.items()}


def estimator_operations(bench: Bench) -> dict[str, float]:
    """Operations and waits of the host in blocks as a GPU gets them: a block takes what its slowest fit takes."""
    size = bench.size(256, 4)
    figures = {}
    with contextlib.ExitStack() as as_on_a_gpu:
        for sizes in (ROWS_AT_ONCE, SAMPLES_AT_ONCE, CURVES_BLOCK):
            as_on_a_gpu.enter_context(patch.dict(sizes, {bench.device.type: sizes["cuda"]}))
        for name, step in _estimators(bench, size).items():
            with OperationCount() as count:
                step()
            block = (BLOCK if name == "bound" else FIT_BLOCK)["cuda"]
            figures[f"{name}, operations a block"] = count.operations
            figures[f"{name}, operations an electron of {block}"] = count.operations / block
            figures[f"{name}, host waits a block"] = count.host_waits
            figures[f"{name}, MB moved an electron"] = count.bytes_moved / size / 1e6
    return figures


def _estimators(bench: Bench, size: int) -> dict[str, Callable[[], object]]:
    """Return what estimates so many electrons of the file, by its name."""
    task = Task(str(bench.data), "seeded", split="all", limit=size, device=str(bench.device))
    recordings = Recordings(task.data)
    config, rows = config_of(recordings), recordings.rows("all", size)
    assert config is not None
    series = recordings.series(rows).to(bench.device)
    seed = Seed.of(PredictionTable.read(_seeds(bench)), recordings.records.event_ids[rows])
    fits = likelihood_estimator(task, config, recordings)
    seeded, truth = SeededEstimator(fits), true_parameters(recordings, rows).to(bench.device)
    return {
        "likelihood": lambda: fits.estimate(series),
        "seeded": lambda: seeded.estimate(series, seed),
        "bound": lambda: electron_bounds(fits.apparatus, config, truth),
    }


def _seeds(bench: Bench) -> Path:
    """Write what a network that resolves electrons would say of the file's: the truth with errors of its size."""
    path, random = bench.folder / "network.hdf5", np.random.default_rng(0)
    records = open_records(bench.data)
    events, truth = records.event_ids, {name: records.scalar(name) for name in schema.DEFAULT_TARGETS}
    std = {name: np.full(len(events), size) for name, size in zip(schema.DEFAULT_TARGETS, SEED_ERRORS, strict=True)}
    means = {name: truth[name] + std[name] * random.normal(size=len(events)) for name in truth}
    PredictionTable.from_estimates(events, means, std=std, estimator="network").write(path)
    return path
