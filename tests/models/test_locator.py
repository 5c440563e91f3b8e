"""A locator learns where a line stands to a small fraction of a position."""

from __future__ import annotations

import math

import pytest
import torch

from reconstruction.models.locator import Locator, location_loss


def lines(position: torch.Tensor, phase: torch.Tensor, length: int = 32) -> torch.Tensor:
    """Complex lines as a finite record shows them: e^{iπx} sinc(x) around the position, two channels."""
    x = torch.arange(length) - position.unsqueeze(1)
    values = torch.polar(torch.sinc(x), math.pi * x + phase.unsqueeze(1))
    return torch.view_as_real(values).contiguous()


def pointed(position: torch.Tensor, length: int = 32) -> torch.Tensor:
    """Attention that knows the nearest position."""
    distance = (torch.arange(length) - position.unsqueeze(1)).square()
    return torch.log_softmax(-distance, dim=1)


def batch(rows: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    position = 6 + 20 * torch.rand(rows, generator=generator)
    return position, lines(position, 6.3 * torch.rand(rows, generator=generator))


def test_a_fraction_of_a_position_is_learned() -> None:
    torch.manual_seed(0)
    locator = Locator(2, 1, window=3, hidden_width=32)
    optimizer = torch.optim.Adam(locator.parameters(), lr=5e-3)
    for step in range(300):
        position, series = batch(128, step)
        reading = locator(series, pointed(position), torch.zeros(128, 1))
        loss = location_loss(pointed(position), reading.position, position).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    position, series = batch(500, 10_000)
    error = locator(series, pointed(position), torch.zeros(500, 1)).position - position
    assert error.abs().median() < 0.04  # the nearest position alone: 0.25


def test_a_common_phase_changes_nothing() -> None:
    locator = Locator(2, 1)
    position, series = batch(4, 1)
    turned = torch.view_as_real(torch.view_as_complex(series) * torch.polar(torch.ones(1), torch.tensor(1.3)))
    plain = locator(series, pointed(position), torch.zeros(4, 1))
    other = locator(turned.contiguous(), pointed(position), torch.zeros(4, 1))
    torch.testing.assert_close(plain.position, other.position, atol=1e-5, rtol=1e-5)


def test_at_the_edges_and_without_signal_everything_is_finite() -> None:
    locator = Locator(4, 3)
    for place in (0, 15):
        attention = torch.full((2, 16), -20.0)
        attention[:, place] = 0.0
        reading = locator(torch.zeros(2, 16, 4), attention, torch.zeros(2, 3))
        assert torch.isfinite(reading.position).all()
        assert torch.isfinite(reading.features).all()
        assert reading.features.shape[1] == locator.feature_width


def test_the_loss_is_least_at_the_truth_and_blind_outside() -> None:
    wanted = torch.tensor([3.4, 40.0, -2.0])
    attention = torch.log_softmax(torch.zeros(3, 8), dim=1)
    at_truth = location_loss(attention, torch.tensor([3.4, 5.0, 5.0]), wanted)
    beside = location_loss(attention, torch.tensor([3.9, 1.0, 1.0]), wanted)
    assert at_truth[0] < beside[0]
    assert (at_truth[1:] == 0).all()
    sharp = torch.full((1, 8), -30.0)
    sharp[0, 3:5] = math.log(0.5)
    assert location_loss(sharp, wanted[:1], wanted[:1])[0] == pytest.approx(math.log(2), rel=1e-5)


def test_pairs_with_a_phase_of_their_own_change_nothing_with_it() -> None:
    """A first pair that is noise must not turn the line that stands in the second."""
    torch.manual_seed(3)
    position, series = batch(5, 1)
    noise = torch.randn(5, 32, 2)
    locator = Locator(4, 1, in_phase=2)
    readings = []
    for turn in (0.0, 1.1):
        turned = torch.view_as_complex(series) * torch.polar(torch.ones(()), torch.tensor(turn))
        both = torch.cat((noise, torch.view_as_real(turned)), dim=2)
        readings.append(locator(both, pointed(position), torch.zeros(5, 1)).position)
    torch.testing.assert_close(*readings)
    locator.together = 2
    assert not torch.allclose(locator(both, pointed(position), torch.zeros(5, 1)).position, readings[0], atol=1e-4)


def test_a_line_that_is_missed_pulls_at_the_attention_alone() -> None:
    """A record that shows no line is taught as often as any: its pull at the position would be the strongest."""
    wanted = torch.tensor([3.4, 3.4])
    attention = torch.log_softmax(torch.eye(12)[[3, 10]] * 5, dim=1).requires_grad_()
    position = torch.tensor([3.6, 10.1], requires_grad=True)
    location_loss(attention, position, wanted, reach=5).sum().backward()
    assert position.grad is not None
    assert attention.grad is not None
    assert position.grad[0] > 0
    assert position.grad[1] == 0
    assert (attention.grad[:, 3:5] < 0).all()


def test_an_odd_number_of_channels_is_refused() -> None:
    with pytest.raises(ValueError, match="pairs"):
        Locator(3, 1)
