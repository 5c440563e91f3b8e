"""Time and memory of the S4D encoder, beside the direct form of its kernel measured in the same run.

    python benchmarks/s4d.py            all of it, about five minutes on two free cores
    python benchmarks/s4d.py --quick    small sizes, to see that it works

Ratios are medians of pairs measured one after the other, so that another program's load falls on both. The memory
allocator is told to keep its pages (glibc settings of the README); otherwise the kernel's page clearing is timed too.
"""

from __future__ import annotations

import argparse
import math
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn

from cres.errors import run
from reconstruction.command import Parser
from reconstruction.models import S4DEncoder
from reconstruction.models.encoders.s4d_kernel import s4d_kernel
from reconstruction.models.encoders.s4d_layer import StateSpace

MALLOC = {
    "MALLOC_MMAP_THRESHOLD_": "4294967296",
    "MALLOC_TRIM_THRESHOLD_": "4294967296",
    "MALLOC_TOP_PAD_": "268435456",
}


CHUNK = 8192


def direct_kernel(c: Tensor, a: Tensor, dt: Tensor, length: int) -> Tensor:
    """The sum of the paper with the whole channel × state × length tensor."""
    exponent = (a * dt.unsqueeze(-1)).to(c.dtype)
    weight = c * (torch.exp(exponent) - 1) / a.to(c.dtype)
    powers = torch.exp(exponent.unsqueeze(-1) * torch.arange(length, device=c.device))
    return 2 * torch.einsum("...hn,hnl->...hl", weight, powers).real


class DirectStateSpace(nn.Module):
    """A causal S4D layer as it is usually written: direct kernel, plain FFTs, torch's own gradients."""

    def __init__(self, twin: StateSpace) -> None:
        super().__init__()
        self.twin = twin

    def forward(self, values: Tensor) -> Tensor:
        """Convolve (batch, channel, length)."""
        length = values.shape[-1]
        a, dt = self.twin.dynamics()
        kernel = direct_kernel(torch.view_as_complex(self.twin.c)[0], a, dt, length)
        spectrum = torch.fft.rfft(values, n=2 * length) * torch.fft.rfft(kernel, n=2 * length)
        return torch.fft.irfft(spectrum, n=2 * length)[..., :length] + self.twin.skip.unsqueeze(-1) * values


def encoder(width: int, state: int, depth: int, direct: bool) -> S4DEncoder:
    """The same architecture and weights with either layer."""
    torch.manual_seed(0)
    model = S4DEncoder(2, width, state, depth, bidirectional=False)
    if direct:
        for block in model.blocks:
            block.state_space = DirectStateSpace(block.state_space)
    return model


def training_step(model: nn.Module, series: Tensor) -> Callable[[], None]:
    optimizer = torch.optim.AdamW(model.parameters(), foreach=True)

    def step() -> None:
        optimizer.zero_grad()
        model(series).square().mean().backward()
        optimizer.step()

    return step


def kernel_step(form: Callable[..., Tensor], width: int, state: int, length: int) -> Callable[[], None]:
    layer = StateSpace(width, state, bidirectional=False)

    def step() -> None:
        layer.zero_grad()
        kernel = form(torch.view_as_complex(layer.c)[0], *layer.dynamics(), length)
        kernel.backward(torch.ones_like(kernel))

    return step


def seconds(step: Callable[[], None], repeats: int = 1) -> float:
    start = time.perf_counter()
    for _ in range(repeats):
        step()
    return (time.perf_counter() - start) / repeats


def compare(fast: Callable[[], None], slow: Callable[[], None], pairs: int, repeats: int) -> tuple[float, float, float]:
    """Median times of both and the median of the ratios of neighbouring measurements."""
    fast(), slow()
    times = [(seconds(fast, repeats), seconds(slow)) for _ in range(pairs)]
    fast_times, slow_times = zip(*times, strict=True)
    ratio = statistics.median(b / a for a, b in times)
    return statistics.median(fast_times), statistics.median(slow_times), ratio


def peak_memory_mib(arguments: argparse.Namespace, form: str) -> float:
    """Peak memory of a process that does one training step (above that of a process that only imports)."""
    command = [sys.executable, __file__, "--memory", form, *(["--quick"] if arguments.quick else [])]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def report_memory(form: str, sizes: dict[str, int]) -> None:
    """Print by how much one training step raises the peak memory of this process."""
    before = peak_mib()
    model = encoder(sizes["width"], sizes["state"], sizes["depth"], direct=form == "direct")
    training_step(model, torch.randn(sizes["batch"], sizes["length"], 2))()
    print(max(1.0, peak_mib() - before))


def streaming(form: str, samples: int, quick: bool) -> tuple[float, float]:
    """Seconds and peak memory in MiB of a process that encodes one record, whole or in chunks."""
    command = [sys.executable, __file__, "--record", form, "--samples", str(samples), *(["--quick"] if quick else [])]
    taken, peak = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
    return float(taken), float(peak)


@torch.no_grad()
def report_streaming(form: str, samples: int, width: int) -> None:
    """Print the time to encode a record of so many samples, and by how much that raises the peak memory."""
    before = peak_mib()
    model = S4DEncoder(2, width, 32, 4, bidirectional=False, stride=2).eval()
    start = time.perf_counter()
    if form == "chunks":
        model.stream(torch.randn(1, CHUNK, 2) for _ in range(samples // CHUNK))
    else:
        model(torch.randn(1, samples, 2))
    print(time.perf_counter() - start, peak_mib() - before)


def peak_mib() -> float:
    """Peak resident memory of this process alone (`getrusage` would count the parent's)."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmHWM")).split()[1]) / 1024


def scaling(width: int, state: int, lengths: list[int], passes: int) -> list[tuple[int, float, float]]:
    """Time of one layer's forward and backward pass, and its cost relative to n log n (smallest of all = 1)."""
    layer = StateSpace(width, state, bidirectional=False)
    best = dict.fromkeys(lengths, math.inf)
    for _ in range(passes):
        for length in lengths:
            values = torch.randn(1, width, length, requires_grad=True)
            repeats = max(1, lengths[-1] // (8 * length))
            best[length] = min(best[length], seconds(lambda v=values: layer(v).sum().backward(), repeats))
    first = best[lengths[0]] / (lengths[0] * math.log2(lengths[0]))
    return [(n, best[n], best[n] / (n * math.log2(n)) / first) for n in lengths]


def environment() -> str:
    load = " ".join(f"{value:.1f}" for value in os.getloadavg())
    return (
        f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, {torch.get_num_threads()} threads, "
        f"torch {torch.__version__}, Python {platform.python_version()}, load {load}"
    )


def with_malloc_settings() -> None:
    """Start again with the allocator's settings: it reads them only when a process starts."""
    if any(name not in os.environ for name in MALLOC):
        command = [sys.executable, str(Path(__file__).resolve()), *sys.argv[1:]]
        sys.exit(subprocess.run(command, env={**MALLOC, **os.environ}, check=False).returncode)


def report(arguments: argparse.Namespace, sizes: dict[str, int]) -> bool:
    """Print all figures; true when every target is met."""
    width, state, length, depth = (sizes[name] for name in ("width", "state", "length", "depth"))
    pairs = 2 if arguments.quick else 7
    print(environment())
    kernels = [kernel_step(form, width, state, length) for form in (s4d_kernel, direct_kernel)]
    fast, slow, kernel_ratio = compare(*kernels, pairs=pairs, repeats=5)
    print(f"kernel, forward + backward, width {width}, state {state}, {length} samples:")
    print(f"  blocked {1e3 * fast:.1f} ms   direct {1e3 * slow:.1f} ms   ratio {kernel_ratio:.1f} (target 25)")
    series = torch.randn(sizes["batch"], length, 2)
    steps = [training_step(encoder(width, state, depth, direct), series) for direct in (False, True)]
    fast, slow, step_ratio = compare(*steps, pairs=max(2, pairs // 2), repeats=1)
    print(f"training step, {depth} layers, batch {sizes['batch']}:")
    print(f"  this package {fast:.2f} s   direct {slow:.2f} s   ratio {step_ratio:.1f} (target 4)")
    del steps
    memory = {form: peak_memory_mib(arguments, form) for form in ("blocked", "direct")}
    print(
        f"  peak memory {memory['blocked']:.0f} MiB   direct {memory['direct']:.0f} MiB   "
        f"ratio {memory['direct'] / memory['blocked']:.1f}"
    )
    lengths = [2**exponent for exponent in range(10, 13 if arguments.quick else 19)]
    print("one layer, forward + backward, width 32, batch 1, relative to n log n (target: at most 1.3):")
    costs = scaling(32, state, lengths, passes=pairs)
    for samples, cost, relative in costs:
        print(f"  {samples:7d} samples  {1e3 * cost:9.2f} ms  {relative:.2f}")
    flat = report_memory_of_records(arguments.quick)
    return flat and kernel_ratio >= 25 and step_ratio >= 4 and max(relative for _, _, relative in costs) <= 1.3


def report_memory_of_records(quick: bool) -> bool:
    """Print time and peak memory of long records, in chunks and whole; true when chunks of longer ones need no more."""
    print(
        f"encoding one record, causal, 4 layers, in chunks of {CHUNK} samples and whole (target: chunks at most 1.2):"
    )
    lengths = [2**exponent for exponent in ((14, 16) if quick else (16, 18, 20))]
    peaks = []
    for samples in lengths:
        (taken, peak), (whole_taken, whole_peak) = (streaming(form, samples, quick) for form in ("chunks", "whole"))
        peaks.append(peak)
        print(
            f"  {samples:7d} samples  {taken:6.2f} s {peak:5.0f} MiB   whole {whole_taken:6.2f} s {whole_peak:5.0f} MiB"
        )
    return max(peaks) <= 1.2 * peaks[0]


def main() -> int:
    parser = Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="small sizes: shows that it works, measures little")
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="threads of torch (default: all cores)")
    parser.add_argument("--memory", choices=["blocked", "direct"], help="only print the peak memory of one form in MiB")
    parser.add_argument("--record", choices=["chunks", "whole"], help="only encode one record; print seconds and MiB")
    parser.add_argument("--samples", type=int, default=65_536, help="samples of that record")
    arguments = parser.parse_args()
    with_malloc_settings()
    torch.set_num_threads(arguments.threads)
    sizes = {"width": 128, "state": 64, "length": 8192, "depth": 6, "batch": 4}
    if arguments.quick:
        sizes = {"width": 16, "state": 16, "length": 1024, "depth": 2, "batch": 2}
    if arguments.memory:
        report_memory(arguments.memory, sizes)
        return 0
    if arguments.record:
        report_streaming(arguments.record, arguments.samples, 16 if arguments.quick else 64)
        return 0
    met = report(arguments, sizes)
    print("all targets met" if met else "NOT all targets met")
    return 0 if met or arguments.quick else 1


if __name__ == "__main__":
    run(main)
