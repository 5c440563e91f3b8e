"""Users' tables of final states are checked."""

from __future__ import annotations

import numpy as np
import pytest

from cres.errors import UserError
from cres.physics.beta import T_ENDPOINT_EV, beta_spectrum_rate
from cres.physics.final_states import (
    T2_GROUND_GROUP_PROBABILITY,
    T2_GROUND_GROUP_WIDTH_EV,
    T2_MEAN_EXCITATION_EV,
    T2_TABLE,
    FinalStates,
)

ANY = (0.0, 100.0)


def write(path, rows):
    path.write_text("# excitation (eV), probability\n" + "\n".join(",".join(map(str, row)) for row in rows))
    return path


def test_table_is_sorted_counted_from_the_lowest_state_and_normalised(tmp_path):
    states = FinalStates.read(write(tmp_path / "states.csv", [(26.0, 0.415), (1.0, 0.58), (-2.0, 0.0)]))
    np.testing.assert_allclose(states.excitation_ev, [0.0, 25.0])
    np.testing.assert_allclose(states.probability, [0.58 / 0.995, 0.415 / 0.995])
    assert states.raw_sum == pytest.approx(0.995)
    assert states.ground_group_probability == pytest.approx(0.58 / 0.995)


def test_probabilities_per_ev_with_their_widths(tmp_path):
    states = FinalStates.read(write(tmp_path / "states.csv", [(0.0, 6.0, 0.1), (20.0, 0.2, 2.0)]), ANY)
    np.testing.assert_allclose(states.probability, [0.6, 0.4])


@pytest.mark.parametrize("rows", [[(0.0, 6.0), (20.0, 0.4)], [(0.0, 0.5), (1.0, -0.1)], [(0.0,), (1.0,)]])
def test_bad_tables_are_refused(tmp_path, rows):
    with pytest.raises(UserError, match=r"sum to|negative|columns"):
        FinalStates.read(write(tmp_path / "states.csv", rows))


@pytest.mark.parametrize("rows", [[(0.0, 0.9), (20.0, 0.1)], [(0.0, 0.5), (90.0, 0.5)]])
def test_wrong_mean_is_refused(tmp_path, rows):
    with pytest.raises(UserError, match="mean excitation"):
        FinalStates.read(write(tmp_path / "states.csv", rows))


def test_missing_file_is_one_sentence(tmp_path):
    with pytest.raises(UserError, match="cannot read"):
        FinalStates.read(tmp_path / "none.csv")


def test_published_table_has_its_published_moments():
    states = FinalStates.t2()
    ground = states.excitation_ev < 8
    width = np.sqrt(np.cov(states.excitation_ev[ground], aweights=states.probability[ground], ddof=0))
    published = states.ground_group_probability * states.raw_sum
    assert published == pytest.approx(T2_GROUND_GROUP_PROBABILITY, abs=5e-5)
    assert width == pytest.approx(T2_GROUND_GROUP_WIDTH_EV, abs=5e-4)
    lowest = np.loadtxt(T2_TABLE, delimiter=",")[0, 0]
    assert states.mean_excitation_ev + lowest == pytest.approx(T2_MEAN_EXCITATION_EV, abs=0.05)
    assert 0.99 < states.raw_sum < 1
    assert "Saenz" in states.source


def test_binding_energies_with_their_own_sign_are_refused(tmp_path):
    energy, probability = np.loadtxt(T2_TABLE, delimiter=",").T
    with pytest.raises(UserError, match="binding"):
        FinalStates.read(write(tmp_path / "binding.csv", list(zip(-energy, probability, strict=True))))


@pytest.mark.parametrize("normalised", [False, True])
def test_the_copy_that_mixes_per_bin_and_per_ev_is_refused(tmp_path, normalised):
    # the trap: the ground-state group in probability per eV beside bins of 1 eV puts 93 % there
    energy, probability = np.loadtxt(T2_TABLE, delimiter=",").T
    mixed = np.where(energy < 8, 10.0, 1.0) * probability
    assert mixed[energy < 8].sum() / mixed.sum() == pytest.approx(0.93, abs=0.005)
    rows = list(zip(energy, mixed / mixed.sum() if normalised else mixed, strict=True))
    with pytest.raises(UserError, match="mean excitation" if normalised else "sum to 6"):
        FinalStates.read(write(tmp_path / "copy.csv", rows))


def test_atomic_tritium():
    states = FinalStates.atomic()
    # sudden approximation: P(1s) = (16√2/27)², P(2s) = 1/4; the rest as in Williams and Koonin, PRC 27 (1983) 1815
    np.testing.assert_allclose(states.probability[:3], [512 / 729, 0.25, 0.0127], rtol=5e-3)
    np.testing.assert_allclose(states.excitation_ev[:2], [0.0, 40.8], atol=0.05)
    assert states.raw_sum == pytest.approx(1.0, abs=1e-5)
    # sum rule: −27.2 × 1.5 + 54.4 eV
    assert states.mean_excitation_ev == pytest.approx(13.606, abs=0.03)
    near, far = beta_spectrum_rate(T_ENDPOINT_EV - np.array([30.0, 45.0]), T_ENDPOINT_EV, final_states=states)
    bare = beta_spectrum_rate(T_ENDPOINT_EV - np.array([30.0, 45.0]), T_ENDPOINT_EV)
    assert near / bare[0] == pytest.approx(512 / 729, rel=1e-4)
    assert far / bare[1] > 512 / 729


def test_equal_tables_are_one():
    assert FinalStates.t2() == FinalStates.t2()
    assert len({FinalStates.t2(), FinalStates.t2(), FinalStates.atomic()}) == 2


def test_names_and_files(tmp_path):
    assert FinalStates.of("T2").source == FinalStates.t2().source
    assert FinalStates.of("T").probability[0] == pytest.approx(512 / 729, rel=1e-4)
    assert FinalStates.of(str(T2_TABLE)).raw_sum == FinalStates.t2().raw_sum


# Mixtures ----------------------------------------------------------------------------------------------------------


def test_a_mixture_is_the_weighted_sum_of_its_tables(tmp_path):
    other = write(tmp_path / "ht.csv", [(0.0, 0.5), (1.5, 0.1), (40.0, 0.4)])
    mixed = FinalStates.of(f"T2:0.9, {other}:0.1:0.3")
    t2 = FinalStates.t2()
    assert mixed.probability.sum() == pytest.approx(1)
    near = mixed.probability[np.isclose(mixed.excitation_ev, 0.3, atol=1e-9)].sum()
    own = t2.probability[np.isclose(t2.excitation_ev, 0.3, atol=1e-9)].sum()
    assert near == pytest.approx(0.05 + 0.9 * own)
    expected = 0.9 * t2.mean_excitation_ev + 0.1 * (0.15 + 16.0 + 0.3)
    assert mixed.mean_excitation_ev == pytest.approx(expected)
    energies = T_ENDPOINT_EV - np.array([20.0, 60.0])
    parts = [
        beta_spectrum_rate(energies, T_ENDPOINT_EV, final_states=t2),
        beta_spectrum_rate(energies, T_ENDPOINT_EV - 0.3, final_states=FinalStates.read(other)),
    ]
    together = beta_spectrum_rate(energies, T_ENDPOINT_EV, final_states=mixed)
    np.testing.assert_allclose(together, 0.9 * parts[0] + 0.1 * parts[1], rtol=1e-9)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("H2", "none of T2, HT, DT, T, none"),
        ("T2:0.9,HD:0.1", "none of T2, HT, DT, T, none"),
        ("T2:0.9", "sum to 0.9"),
        ("T2:0.9,T:much", "'T:much' is not NAME:PART"),
        ("T2:1.2,T:-0.2", "a part of 0 to 1"),
        ("T2:0.9,none:0.1", "no part of a mixture"),
        ("T2:0.9,nothing.csv:0.1", "no file of this name"),
        ("T2:0.9:nan,T:0.1", "NAME:PART"),
    ],
)
def test_mistakes_in_a_mixture_are_one_sentence(text, message):
    with pytest.raises(UserError, match=message):
        FinalStates.of(text)
