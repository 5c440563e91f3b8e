"""Noise, length, band and difficulty move as configured, reach their end, and never reach what judges."""

import math
from collections import Counter
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from cres.data.module import CresDataModule
from cres.errors import UserError
from cres.training.curriculum import Curriculum
from cres.training.cuts import keep_band, shortened
from cres.training.module import CresModule
from cres.transforms import FROZEN_EPOCH
from reconstruction.records.batch import mask_from
from reconstruction.records.loader import KeyedSampler
from reconstruction.training.command_line.cli import main
from reconstruction.training.learning.moves import Stage, curve

ALL = [
    "--curriculum.noise_scale.start=0.2",
    *(f"--curriculum.{name}.shape=linear" for name in ("length", "band", "difficulty")),
    *(f"--curriculum.{name}.over=0.7" for name in ("length", "band", "difficulty")),
    "--curriculum.band_centre_hz=-60e6",
]


# How one number moves ------------------------------------------------------------------------------------------------


@given(
    shape=st.sampled_from(["linear", "root", "quadratic", "cosine", "step"]),
    over=st.floats(0.05, 1.0),
    total=st.integers(1, 5000),
)
def test_a_stage_starts_ends_and_never_turns_back(shape, over, total):
    stage = Stage(shape, start=0.1, end=1.0, over=over)
    values = [stage.value(step, total, total / 10) for step in range(0, total + 1, max(1, total // 50))]
    assert all(a <= b + 1e-12 for a, b in pairwise(values))
    assert stage.value(0, total, total / 10) == pytest.approx(0.1)
    assert stage.value(math.ceil(over * total), total, total / 10) == 1.0
    assert stage.value(total, total, total / 10) == 1.0


@pytest.mark.parametrize(
    ("shape", "middle"), [("linear", 0.5), ("root", 0.5**0.5), ("quadratic", 0.25), ("cosine", 0.5), ("step", 0.5)]
)
def test_shapes_in_the_middle(shape, middle):
    assert curve(shape, 0.5) == pytest.approx(middle)


def test_no_curriculum_is_nominal_from_the_first_step():
    curriculum = Curriculum()
    assert all(curriculum.value(name, 0, 100, 10.0) == 1.0 for name in curriculum.stages)


def test_a_stage_in_epochs():
    stage = Stage("linear", start=0.0, epochs=2.0)
    assert stage.value(10, 1000, 10.0) == pytest.approx(0.5)
    assert stage.value(20, 1000, 10.0) == 1.0


def test_competence_advances_when_validation_stops_improving_and_is_restored():
    stages = {name: Stage("competence", start=0.2, steps=4, patience=2, over=1.0) for name in ("noise_scale", "length")}
    curriculum = Curriculum(**stages)
    for loss in (3.0, 2.0, 1.0, 1.0):
        curriculum.observe(loss)
    assert curriculum.value("noise_scale", 1, 100, 10.0) == pytest.approx(0.2)
    curriculum.observe(1.0)
    assert curriculum.value("noise_scale", 1, 100, 10.0) == pytest.approx(0.4)
    again = Curriculum(**stages)
    again.load_state_dict(curriculum.state_dict())
    assert again.value("length", 1, 100, 10.0) == pytest.approx(0.4)
    assert again.value("band", 1, 100, 10.0) == 1.0
    assert again.value("length", 100, 100, 10.0) == 1.0


def test_senseless_stages_are_refused():
    with pytest.raises(UserError, match="must not be negative"):
        Stage("linear", start=-1.0)
    with pytest.raises(UserError, match=r"curriculum\.length.*shares"):
        Curriculum(length=Stage("linear", start=0.0))


# What it does to the records -----------------------------------------------------------------------------------------


def test_records_are_shortened_from_their_start():
    series = torch.randn(3, 640, 2)
    batch = {"inputs": {"series": series}, "masks": {"series": mask_from(torch.tensor([640, 400, 100]), 640)}}
    short = shortened(batch, 0.5)
    assert torch.equal(short["inputs"]["series"], series[:, :320])
    assert short["masks"]["series"].sum(1).tolist() == [320, 320, 100]
    assert torch.equal(shortened(batch, 1.0)["inputs"]["series"], series)


def test_only_the_band_is_kept():
    rate = 100e6
    inside, outside = (np.exp(2j * np.pi * np.arange(500) * line / 500) for line in (-200, 100))
    tones = torch.view_as_real(torch.from_numpy(np.stack([inside + outside, outside])))
    kept = torch.view_as_complex(keep_band(tones, rate, (-45e6, -35e6)).contiguous()).numpy()
    np.testing.assert_allclose(kept[0], inside, atol=1e-12)
    np.testing.assert_allclose(kept[1], 0, atol=1e-12)


def test_the_band_opens_around_its_centre_to_the_whole():
    curriculum = Curriculum(band=Stage("linear", start=0.1), band_centre_hz=-60e6)
    assert curriculum._band_hz(0.1, 400e6) == pytest.approx((-74e6, -34e6))
    assert curriculum._band_hz(1.0, 400e6) is None


# Which electrons are drawn -------------------------------------------------------------------------------------------


def test_the_easiest_electrons_come_as_often_as_an_epoch_needs():
    sampler = KeyedSampler(100, seed=1, shuffle=True)
    nominal = [draw.row for draw in sampler]
    sampler.easiest_first = np.arange(100)[::-1]
    assert [draw.row for draw in sampler] == nominal
    sampler.share = 0.25
    draws = list(sampler)
    assert Counter(draw.row for draw in draws) == dict.fromkeys(range(75, 100), 4)
    assert all(count == 25 for count in Counter(draw.repeat for draw in draws).values())
    halves = [KeyedSampler(100, 1, True, rank, 2) for rank in (0, 1)]
    for half in halves:
        half.easiest_first, half.share = sampler.easiest_first, 0.25
    assert [draw for half in halves for draw in half] == draws
    sampler.skip = 60
    assert list(sampler) == draws[60:]


@pytest.mark.parametrize("workers", [0, 1])
def test_draws_reach_the_batches_through_workers(records, workers):
    module = CresDataModule(str(records), batch_size=32, workers=workers)
    loader = module.train_dataloader()
    assert not any("repeat" in batch for batch in loader)
    order = np.argsort(module.records.scalar("pitch_angle_deg")[module.split.train])
    loader.order_by_ease(order)
    loader.use_easiest(0.25)
    batches = list(loader)
    easiest = set(module.records.event_ids[module.split.train[order[:39]]].tolist())
    assert {event for batch in batches for event in batch["event_id"].tolist()} == easiest
    assert max(int(batch["repeat"].max()) for batch in batches if "repeat" in batch) == 3


def test_an_electron_drawn_again_has_other_noise(trained):
    from reconstruction.training.runs.loading import load_module

    module = load_module(trained / "checkpoints" / "last.ckpt")
    batch = {
        "inputs": {"series": torch.zeros(2, 64, 2)},
        "event_id": torch.tensor([5, 5]),
    }
    first = module.inject(batch, 0)["inputs"]["series"]
    assert torch.equal(first[0], first[1])
    again = module.inject(batch | {"repeat": torch.tensor([0, 1])}, 0)["inputs"]["series"]
    assert torch.equal(again[0], first[0])
    assert not torch.equal(again[1], first[1])


def test_ease_follows_the_power_or_a_column(records):
    data = CresDataModule(str(records))
    power = data.records.scalar("pitch_angle_deg")[data.split.train]  # amplitude grows with it in these records
    by_power = Curriculum(difficulty=Stage("linear", start=0.5))._easiest_first(data)
    by_column = Curriculum(difficulty_column="pitch_angle_deg", easiest="high")._easiest_first(data)
    np.testing.assert_array_equal(by_power, by_column)
    assert power[by_power[0]] == power.max()
    lowest = Curriculum(difficulty_column="pitch_angle_deg", easiest="low")._easiest_first(data)
    np.testing.assert_array_equal(lowest, by_power[::-1])
    with pytest.raises(UserError, match="'pitch_angle_deg'"):
        Curriculum(difficulty_column="pitch_angle")._easiest_first(data)


# The whole training --------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def undisturbed(fit, tmp_path_factory):
    folder = tmp_path_factory.mktemp("curriculum")
    fit(folder, *ALL)
    return folder


def test_all_reach_their_end_and_are_logged(undisturbed):
    logged = pd.read_csv(undisturbed / "metrics.csv")
    for name, start in (("noise_scale", 0.2), ("length", 0.25), ("band", 0.1), ("difficulty", 0.25)):
        values = logged[f"train/{name}"].dropna()
        assert values.iloc[0] == pytest.approx(start)
        assert values.iloc[-1] == 1.0
        assert values.is_monotonic_increasing
    assert logged["train/difficulty"].nunique() == 3  # one value an epoch


def test_validation_is_at_the_nominal_from_the_first_epoch(fit, tmp_path, monkeypatch):
    inner, judged = CresModule.objective, []

    def watch(self, noisy, batch, *others):
        if self.trainer.validating or not self.training:
            assert self.easing.noise_scale < 1
            assert len(self.easing.before) == len(self.easing.after) == 1
            found = noisy["inputs"]["series"]
            assert torch.equal(found, self.inject(batch, FROZEN_EPOCH)["inputs"]["series"])
            judged.append(found.shape[1])
        return inner(self, noisy, batch, *others)

    monkeypatch.setattr(CresModule, "objective", watch)
    slow = [f"--curriculum.{name}.over=1.0" for name in ("noise_scale", "length", "band")]
    fit(tmp_path, *ALL, *slow, "--trainer.max_epochs=1")
    assert set(judged) == {512}


def test_an_unknown_stage_names_the_known_ones(tiny, records, tmp_path):
    with pytest.raises(UserError, match="'length'"):
        main(["fit", "-c", str(tiny), f"--data.data={records}", f"--run={tmp_path}", "--curriculum.lenght.start=0.5"])
