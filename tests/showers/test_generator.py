"""The flow that draws showers: what it conserves, that it learns, and that its judge can tell."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch

from collider.showers.config import ShowerConfig
from collider.showers.generator import Conditioned, ShowerGenerator, decoded, encoded, simulated
from collider.showers.separation import area_between
from reconstruction.errors import UserError

ROOT = Path(__file__).parents[2]


def toy(events: int, seed: int) -> Conditioned:
    """Cells whose shares follow from what they are made of: a known law instead of a shower."""
    random = np.random.default_rng(seed)
    energy, thickness = random.uniform(1, 10, events), random.choice([0.8, 1.2], events)
    particle = random.choice([11, 22], events)
    middle = 0.2 + 0.3 * (particle == 22) + 0.2 * (thickness - 1)
    first = np.clip(middle + 0.05 * random.normal(size=events), 0.01, 0.99)
    total = energy * (0.9 + 0.02 * random.normal(size=events))
    return Conditioned(total[:, None] * np.column_stack([first, 1 - first]), energy, particle, thickness)


@pytest.fixture(scope="module")
def trained() -> ShowerGenerator:
    torch.manual_seed(0)
    generator = ShowerGenerator(2, width=48, depth=2)
    losses = generator.fit(toy(6000, 0), steps=700)
    assert np.mean(losses[-50:]) < 0.8 * np.mean(losses[:50])
    return generator


def test_what_flows_is_the_cells_and_their_sum():
    known = toy(50, 1)
    flat = encoded(known)
    np.testing.assert_allclose(decoded(flat, known.energy_gev), known.cells_gev)
    flat[:, -1] *= 0.5  # the last coordinate alone says the sum
    np.testing.assert_allclose(decoded(flat, known.energy_gev), 0.5 * known.cells_gev)


def test_it_draws_what_it_was_given(trained):
    wanted = toy(4000, 2)
    drawn = trained.generate(wanted.energy_gev, wanted.particle, wanted.layer_x0, seed=1)
    np.testing.assert_array_equal(drawn.energy_gev, wanted.energy_gev)
    share = drawn.cells_gev[:, 0] / drawn.cells_gev.sum(1)
    photon = wanted.particle == 22
    assert share[photon].mean() - share[~photon].mean() == pytest.approx(0.3, abs=0.1)
    thick = wanted.layer_x0 > 1
    apart = [share[photon == kind][thick[photon == kind]].mean() - share[photon == kind][~thick[photon == kind]].mean()
             for kind in (False, True)]  # fmt: skip
    assert np.mean(apart) == pytest.approx(0.08, abs=0.04)
    total = drawn.cells_gev.sum(1) / drawn.energy_gev
    assert total.mean() == pytest.approx(0.9, abs=0.03)
    assert total.std() < 0.1
    again = trained.generate(wanted.energy_gev[:20], wanted.particle[:20], wanted.layer_x0[:20], seed=1)
    other = trained.generate(wanted.energy_gev[:20], wanted.particle[:20], wanted.layer_x0[:20], seed=2)
    assert not np.allclose(again.cells_gev, other.cells_gev)


def test_its_state_is_all_there_is(trained, tmp_path):
    torch.save(trained.state_dict(), tmp_path / "g.pt")
    fresh = ShowerGenerator(2, width=48, depth=2)
    fresh.load_state_dict(torch.load(tmp_path / "g.pt"))
    one, other = (generator.generate([2.0] * 5, "photon", 0.9, seed=4).cells_gev for generator in (trained, fresh))
    np.testing.assert_array_equal(one, other)


def test_states_of_before_the_flow_was_a_module_are_taken(trained):
    """Their names of weights had no `flow.`, and nothing said which particles they had met."""
    state = {name.removeprefix("flow."): value for name, value in trained.state_dict().items() if name != "kinds"}
    assert {"start.weight", "blocks.1.3.bias", "end.bias"} <= state.keys()
    fresh = ShowerGenerator(2, width=48, depth=2)
    fresh.load_state_dict(state)
    one, other = (generator.generate([2.0] * 5, "photon", 0.9, seed=4).cells_gev for generator in (trained, fresh))
    np.testing.assert_array_equal(one, other)
    with pytest.raises(UserError, match=r"no showers of pi\+"):
        fresh.generate(5.0, "pi+")
    del state["end.bias"]
    with pytest.raises(RuntimeError, match=r"flow\.end\.bias"):
        ShowerGenerator(2, width=48, depth=2).load_state_dict(state)


def test_the_judge_tells_what_is_wrong_and_nothing_else():
    """Of one law: 0.5 within chance. With the particle exchanged: told."""
    one, other = toy(3000, 5), toy(3000, 6)
    features = lambda showers: np.column_stack([encoded(showers), showers.particle == 22])  # noqa: E731
    area, chance = area_between(features(one), features(other), epochs=6)
    assert abs(area - 0.5) < 3.5 * chance
    exchanged = dataclasses.replace(other, particle=33 - other.particle)
    assert area_between(features(one), features(exchanged), epochs=6)[0] > 0.8


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda g: g.generate(50.0), "50 GeV is beyond what the generator was trained on"),
        (lambda g: g.generate(5.0, layer_x0=2.0), "2 X0 a layer is beyond"),
        (lambda g: g.generate(5.0, layer_x0=np.nan), "nan X0 a layer is beyond"),
        (lambda g: g.generate(5.0, "pi+"), r"was trained on no showers of pi\+"),
        (lambda g: g.generate([5.0, 5.0], ["electron", "positron"]), "was trained on no showers of positron"),
        (lambda g: g.fit(dataclasses.replace(toy(5, 0), particle=np.full(5, 211))), "leave pions out"),
        (lambda g: g.generate(5.0, "muon"), "there is no shower of particle 'muon'"),
        (lambda g: g.generate(-5.0), "energy_gev must be positive"),
        (lambda g: g.fit(dataclasses.replace(toy(5, 0), cells_gev=np.ones((5, 3)))), "draws 2 cells"),
        (lambda g: ShowerGenerator(2).generate(5.0), "was not trained"),
    ],
)
def test_what_it_does_not_know_is_one_sentence(trained, call, sentence):
    with pytest.raises(UserError, match=sentence):
        call(trained)


def test_showers_to_learn_from_are_of_every_thickness():
    config = ShowerConfig.from_yaml(ROOT / "configs/showers/leaking.yaml")
    found = simulated(config, (0.8, 1.2), 30, "train", 1)
    assert found.cells_gev.shape == (60, config.cells.cells)
    assert sorted(set(found.layer_x0)) == [0.8, 1.2]
    shallow, deep = (found.cells_gev[found.layer_x0 == one].sum(1) / found.energy_gev[found.layer_x0 == one]
                     for one in (0.8, 1.2))  # fmt: skip
    assert deep.mean() > shallow.mean()  # thicker layers leak less
