from itertools import pairwise

import pytest
import torch

from cres.errors import UserError
from reconstruction.training.schedules import Constant, Cosine, Exponential, OneCycle, Plateau

STEPS = 200


def rates(schedule, steps=STEPS, per_epoch=10, known=None, clock=None):
    """Learning rates of so many steps, of a training of which so many are `known`."""
    optimiser = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    described = schedule.build(optimiser, steps if known is None else known, per_epoch, clock)
    scheduler, seen = described["scheduler"], []
    for step in range(steps):
        seen.append(optimiser.param_groups[0]["lr"])
        optimiser.step()
        due = described["interval"] == "step" or (step + 1) % per_epoch == 0
        if due:
            scheduler.step()
    return seen


def test_cosine_warms_up_and_ends_at_its_floor():
    seen = rates(Cosine(warmup=0.1, floor=0.05))
    assert seen[0] < 0.1
    assert max(seen) == pytest.approx(1.0, abs=1e-2)
    assert seen[-1] == pytest.approx(0.05, abs=1e-3)


def test_one_cycle_rises_then_falls():
    seen = rates(OneCycle(rise=0.3, start=0.04, end=1e-4))
    top = seen.index(max(seen))
    assert seen[0] == pytest.approx(0.04)
    assert abs(top - 0.3 * STEPS) <= 1
    assert all(a <= b for a, b in pairwise(seen[: top + 1]))
    assert seen[-1] < 2e-3


@pytest.mark.parametrize("schedule", [Cosine(), OneCycle()])
@pytest.mark.parametrize("known", [0, 10 * STEPS])
def test_a_schedule_is_through_when_the_time_is_over(schedule, known):
    taken = iter(range(10 * STEPS))
    by_the_clock = rates(schedule, known=known, clock=lambda: next(taken) / STEPS)
    assert by_the_clock[: STEPS - 1] == pytest.approx(rates(schedule)[: STEPS - 1], abs=0.1)
    assert by_the_clock[-1] < 0.02


@pytest.mark.parametrize("schedule", [Cosine(), OneCycle()])
def test_a_slow_clock_changes_nothing(schedule):
    assert rates(schedule, clock=lambda: 0.0) == rates(schedule)


def test_exponential_decays_once_an_epoch():
    seen = rates(Exponential(0.5), steps=30, per_epoch=10)
    assert seen[9] == 1.0
    assert seen[10] == 0.5
    assert seen[29] == 0.25


def test_constant_stays():
    assert set(rates(Constant())) == {1.0}


def test_plateau_falls_only_without_improvement():
    optimiser = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    scheduler = Plateau(factor=0.5, patience=1).build(optimiser, 100, 10)["scheduler"]
    for loss in (3.0, 2.0, 1.0):
        scheduler.step(loss)
    assert optimiser.param_groups[0]["lr"] == 1.0
    for loss in (1.0, 1.0):
        scheduler.step(loss)
    assert optimiser.param_groups[0]["lr"] == 0.5


@pytest.mark.parametrize(
    "make",
    [lambda: Plateau(factor=2.0), lambda: Cosine(warmup=1.0), lambda: OneCycle(rise=0.0), lambda: Exponential(0.0)],
)
def test_senseless_schedules_are_refused(make):
    with pytest.raises(UserError):
        make()
