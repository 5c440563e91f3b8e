"""Users' tables of final states are checked."""

from __future__ import annotations

import numpy as np
import pytest

from cres.errors import UserError
from cres.physics.final_states import (
    T2_GROUND_GROUP_PROBABILITY,
    T2_GROUND_GROUP_WIDTH_EV,
    T2_MEAN_EXCITATION_EV,
    FinalStates,
)


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
    states = FinalStates.read(write(tmp_path / "states.csv", [(0.0, 6.0, 0.1), (20.0, 0.2, 2.0)]))
    np.testing.assert_allclose(states.probability, [0.6, 0.4])


@pytest.mark.parametrize("rows", [[(0.0, 6.0), (20.0, 0.4)], [(0.0, 0.5), (1.0, -0.1)], [(0.0,), (1.0,)]])
def test_bad_tables_are_refused(tmp_path, rows):
    with pytest.raises(UserError, match=r"sum to|negative|columns"):
        FinalStates.read(write(tmp_path / "states.csv", rows))


def test_wrong_mean_is_refused(tmp_path):
    path = write(tmp_path / "states.csv", [(0.0, 0.9), (20.0, 0.1)])
    with pytest.raises(UserError, match="mean excitation"):
        FinalStates.read(path, expected_mean_ev=T2_MEAN_EXCITATION_EV)


def test_missing_file_is_one_sentence(tmp_path):
    with pytest.raises(UserError, match="cannot read"):
        FinalStates.read(tmp_path / "none.csv")


def test_sketch_has_the_published_moments_and_says_what_it_is():
    sketch = FinalStates.t2_sketch()
    ground = sketch.excitation_ev < 8
    width = np.sqrt(np.cov(sketch.excitation_ev[ground], aweights=sketch.probability[ground], ddof=0))
    assert sketch.ground_group_probability == pytest.approx(T2_GROUND_GROUP_PROBABILITY, abs=1e-9)
    assert sketch.mean_excitation_ev == pytest.approx(T2_MEAN_EXCITATION_EV, abs=0.1)
    assert width == pytest.approx(T2_GROUND_GROUP_WIDTH_EV, rel=0.02)
    assert "not the published table" in sketch.source
