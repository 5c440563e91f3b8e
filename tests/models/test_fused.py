"""Which tensors hand-written kernels may read; the kernels themselves: tests/device/real/test_kernels.py."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch
from torch import Tensor, nn

from reconstruction import kernels
from reconstruction.models.encoders.channel_norm import ChannelNorm
from reconstruction.models.encoders.s4d import S4DBlock
from reconstruction.models.fused import norm, tensors


class Marked(Tensor):
    """A tensor that is not what it seems."""


@pytest.fixture
def everywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if this device ran kernels."""
    monkeypatch.setattr(kernels, "run_on", lambda device: True)


def test_a_processor_runs_no_kernels() -> None:
    assert not tensors.fusible(torch.ones(2))


@pytest.mark.usefixtures("everywhere")
def test_kernels_read_plain_tensors_of_few_bits() -> None:
    assert tensors.fusible(torch.ones(2), nn.Parameter(torch.ones(2)), torch.ones(2, dtype=torch.bfloat16))
    refused = (torch.ones(2).double(), torch.ones(2).long(), torch.ones(0), torch.ones(2).as_subclass(Marked))
    assert not any(tensors.fusible(torch.ones(2), one) for one in refused)


@pytest.mark.usefixtures("everywhere")
def test_transforms_and_compilers_are_left_alone() -> None:
    asked: list[bool] = []

    def ask(values: Tensor) -> Tensor:
        asked.append(tensors.fusible(values))
        return values * 2

    values = torch.ones(3)
    torch.func.vmap(ask)(values)
    torch.func.jvp(ask, (values,), (values,))
    torch.func.grad(lambda one: ask(one).sum())(values)
    torch.func.vmap(lambda one: one + ask(values))(values)  # what lies in memory beside what does not
    assert asked == [False] * 4

    class Asking(nn.Module):
        def forward(self, values: Tensor) -> Tensor:
            return values + 1 if tensors.fusible(values) else values * 2

    exported = torch.export.export(Asking(), (values,)).module()
    assert exported(values).tolist() == [2.0] * 3


@pytest.mark.usefixtures("everywhere")
def test_layers_ask_before_they_fuse(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of widths that fit, without dropout in training, and gated: kernels; else torch's own."""
    started: list[str] = []
    monkeypatch.setattr(
        "reconstruction.models.encoders.channel_norm.fused_norm",
        lambda values, *_, **__: (started.append("norm"), values)[1],
    )
    monkeypatch.setattr(
        "reconstruction.models.encoders.s4d.add_gated", lambda values, mixed: (started.append("gate"), values)[1]
    )
    for width in (norm.LARGEST_WIDTH, norm.LARGEST_WIDTH + 1):
        ChannelNorm(width)(torch.randn(1, width, 2))
    ChannelNorm(4).positions_first(torch.randn(1, 4, 2))
    assert started == ["norm", "norm"]
    started.clear()
    for mixing, dropout in (("glu", 0.0), ("glu", 0.5), ("linear", 0.0)):
        block = S4DBlock(nn.Identity(), 4, prenorm=True, mixing=mixing, dropout=dropout)
        block(torch.randn(2, 4, 6), None)
        block.eval()(torch.randn(2, 4, 6), None)
    assert started.count("gate") == 3


def test_triton_is_loaded_where_a_kernel_starts() -> None:
    code = "from reconstruction.models import S4DEncoder; import torch, sys\n"
    code += "before = 'triton' in sys.modules\n"  # some of torch's builds load it themselves
    code += "S4DEncoder(2, width=4, state=4, depth=1)(torch.ones(1, 8, 2))\n"
    code += "assert before or 'triton' not in sys.modules\n"
    code += "assert 'reconstruction.models.fused.triton_kernels' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
