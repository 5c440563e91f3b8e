"""Laws of momenta: whole events in a batch, and penalties as loops over candidates compute them."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from collider.detectors.learning.batches import EVENTS
from collider.detectors.learning.conservation import (
    BINS,
    EnergyConservation,
    LawOptions,
    MomentumBalance,
    interpolated,
)
from collider.detectors.learning.data import CandidateDataModule
from reconstruction.errors import UserError
from reconstruction.models import Gaussian

TARGETS = ("charge", "momentum_gev")


@pytest.fixture(scope="module")
def data(shots):
    return CandidateDataModule(
        data=str(shots), targets=TARGETS, inputs=("tracker",), whole_events=True, batch_size=20, least_gev=0.0
    )


@pytest.fixture(scope="module")
def batches(data):
    return list(data.train_dataloader())


def said_of(batch, seed=0):
    random = torch.Generator().manual_seed(seed)
    truth = batch["targets"]
    std = 0.02 + 0.1 * torch.rand(truth.shape, dtype=torch.float64, generator=random)
    mean = truth * (1 + std * torch.randn(truth.shape, dtype=torch.float64, generator=random))
    return Gaussian(mean.requires_grad_(), torch.diag_embed(std))


# Whole events -------------------------------------------------------------------------------------------------------


def test_batches_hold_all_candidates_of_their_events(data, batches):
    records, split = data.records, data.split
    found = []
    for batch in batches:
        of = batch[EVENTS]["of"].numpy()
        for event in range(len(batch[EVENTS]["unseen_gev"])):
            ids = batch["event_id"].numpy()[of == event]
            rows = np.flatnonzero(np.isin(records.event_ids, ids))
            whole = np.flatnonzero(records.event_of_rows == records.event_of_rows[rows[0]])
            assert np.array_equal(rows, whole)
            found.append(whole)
    assert sorted(np.concatenate(found)) == sorted(split.train)
    assert [len(batch["event_id"]) for batch in batches[:-1]] == [20] * (len(batches) - 1)  # four events of five
    one = batches[0]
    rows = [int(np.flatnonzero(records.event_ids == i)[0]) for i in one["event_id"].numpy()]
    for name in ("eta", "phi_rad"):
        np.testing.assert_array_equal(one[EVENTS][name], records.scalar(name)[rows])
    validation = np.concatenate([batch["event_id"] for batch in data.val_dataloader()])
    assert set(validation) == set(records.event_ids[split.validation])
    assert EVENTS not in next(iter(data.test_dataloader()))


def test_the_order_is_keyed_and_resumed_in_the_middle(data, batches):
    loader = data.train_dataloader()
    first = next(iter(loader))
    torch.testing.assert_close(first["event_id"], batches[0]["event_id"])
    again = data.train_dataloader()
    again.load_state_dict({"batches": 2})
    torch.testing.assert_close(next(iter(again))["event_id"], batches[2]["event_id"])


def test_what_nobody_saw_is_told_event_by_event(data):
    files = data.records
    events = files.events
    sums = np.stack(
        [events.column(f"missing_p{axis}_gev") + events.column(f"beyond_p{axis}_gev") for axis in "xy"], axis=1
    )
    np.testing.assert_allclose(files.unseen_gev, sums)


@pytest.mark.parametrize("options", [{"needs": ("ecal",)}, {"classes": ("muon",)}])
def test_some_candidates_are_no_whole_events(shots, options):
    with pytest.raises(UserError, match=r"data\.whole_events reads all candidates of an event"):
        CandidateDataModule(data=str(shots), whole_events=True, **options)


# Momentum balance ---------------------------------------------------------------------------------------------------


def by_hand(batch, said, lost):
    """The penalty of each event and direction, candidate by candidate."""
    found, events = [], batch[EVENTS]
    for event in range(len(events["unseen_gev"])):
        rows = [i for i, one in enumerate(events["of"].tolist()) if one == event]
        for axis, turned in enumerate((math.cos, math.sin)):
            total, variance, across = float(events["unseen_gev"][event, axis]), 0.0, 0.0
            for i in rows:
                share = turned(float(events["phi_rad"][i])) / math.cosh(float(events["eta"][i]))
                total += float(said.mean[i, 1]) * share
                variance += (float(said.std[i, 1]) * share) ** 2
                across += float(said.mean[i, 1]) / math.cosh(float(events["eta"][i]))
            found.append(math.sqrt(1 + total**2 / (variance + lost**2 * across)) - 1)
    return found


def test_the_balance_is_that_of_a_loop(batches):
    law = MomentumBalance(LawOptions(0.7), TARGETS)
    law.lost.fill_(0.3)
    for batch in batches[:2]:
        batch[EVENTS]["unseen_gev"] += 2.0
        said = said_of(batch)
        found = law(said, batch)
        with torch.no_grad():
            expected = 0.7 * np.mean(by_hand(batch, said, 0.3))
        assert float(found.detach()) == pytest.approx(expected, rel=1e-9)
        found.backward()
        assert said.mean.grad is not None
        assert (said.mean.grad[:, 0] == 0).all()
        assert (said.mean.grad[:, 1] != 0).all()
        batch[EVENTS]["unseen_gev"] -= 2.0


def test_what_is_lost_is_measured_on_true_momenta(batches):
    """Of walks of known step: the events' own residuals are replaced."""
    law = MomentumBalance(LawOptions(), TARGETS)
    random = torch.Generator().manual_seed(0)
    made = []
    for batch in batches * 12:
        one = {**batch, EVENTS: dict(batch[EVENTS])}
        momentum = batch["targets"][:, 1]
        residual, across = law._summed(one, momentum)
        walk = torch.randn(residual.shape, generator=random, dtype=torch.float64)
        one[EVENTS]["unseen_gev"] = one[EVENTS]["unseen_gev"] - residual + 0.8 * across.sqrt().unsqueeze(1) * walk
        made.append(one)
    law.fit(lambda: made)
    assert law.fitted
    assert float(law.lost) == pytest.approx(0.8, rel=0.1)


def test_batches_of_parts_of_events_are_refused(shots):
    data = CandidateDataModule(data=str(shots), inputs=("tracker",), batch_size=20)
    batch = next(iter(data.train_dataloader()))
    law = MomentumBalance(LawOptions(), data.targets)
    with pytest.raises(UserError, match=r"batches do not hold whole events: give --data\.whole_events=true"):
        law.fit(lambda: [batch])


# Energy -------------------------------------------------------------------------------------------------------------


def test_energy_is_that_of_a_loop(batches):
    law = EnergyConservation(LawOptions(0.5), TARGETS)
    law.at.copy_(torch.linspace(0, 5, BINS))
    law.response.copy_(torch.linspace(0.6, 1.0, BINS))
    law.spread.copy_(torch.linspace(0.5, 0.1, BINS))
    batch = batches[0]
    said, seen = said_of(batch), batch["observables"]
    expected = []
    for i in range(len(batch["event_id"])):
        energy = float(seen["calorimeter_sum_gev"][i])
        if math.isfinite(float(seen["kalman_momentum_gev"][i])) and energy > 0 and seen["muon_tokens"][i] == 0:
            momentum = said.mean[i, 1].item()
            response, spread = (
                np.interp(math.log(momentum), law.at.numpy(), one.numpy()) for one in (law.response, law.spread)
            )
            expected.append(math.sqrt(1 + ((energy / momentum - response) / spread) ** 2) - 1)
    found = law(said, batch)
    assert 5 < len(expected) < len(batch["event_id"])
    assert float(found.detach()) == pytest.approx(0.5 * np.mean(expected), rel=1e-9)
    found.backward()
    assert said.mean.grad is not None
    assert int((said.mean.grad != 0).sum()) == len(expected)


def test_responses_are_medians_of_bins(batches):
    """Tracks whose calorimeters read a known share with a known spread."""
    law = EnergyConservation(LawOptions(), TARGETS)
    random = np.random.default_rng(0)
    momentum = random.uniform(1, 50, 4000)
    energy = momentum * (0.8 + 0.1 * random.standard_normal(4000))
    batch = {
        "targets": torch.from_numpy(np.stack([np.ones(4000), momentum], axis=1)),
        "observables": {
            "kalman_momentum_gev": torch.from_numpy(momentum),
            "calorimeter_sum_gev": torch.from_numpy(energy),
            "muon_tokens": torch.zeros(4000),
        },
    }
    law.fit(lambda: [batch])
    assert law.response.tolist() == pytest.approx([0.8] * BINS, abs=0.03)
    assert law.spread.tolist() == pytest.approx([0.1] * BINS, rel=0.15)
    assert (law.at.diff() > 0).all()
    few = {**batch, "observables": {**batch["observables"], "muon_tokens": torch.ones(4000)}}
    with pytest.raises(UserError, match=r"the training has 0 of them"):
        EnergyConservation(LawOptions(), TARGETS).fit(lambda: [few])
    assert float(law(Gaussian(batch["targets"], torch.diag_embed(batch["targets"])), few)) == 0


def test_a_curve_is_level_beyond_its_ends():
    at, curve = torch.tensor([0.0, 1.0, 3.0]), torch.tensor([1.0, 2.0, 0.0])
    value = torch.tensor([-1.0, 0.0, 0.5, 2.0, 3.0, 9.0])
    np.testing.assert_allclose(interpolated(value, at, curve), np.interp(value, at, curve), atol=1e-6)


def test_what_cannot_be_meant_is_said():
    for weight in (0.0, -1.0, math.inf, math.nan):
        with pytest.raises(UserError, match=f"the weight of a law is {weight:g}, but must be more than 0"):
            LawOptions(weight)
    with pytest.raises(UserError, match=r"data\.targets are identity: add momentum_gev"):
        MomentumBalance(LawOptions(), ("identity",))
