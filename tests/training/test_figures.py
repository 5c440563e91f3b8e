"""Pictures of the validation split, also of heads that state no uncertainty; a warning would be an error here."""

from dataclasses import replace

import numpy as np
import pytest
from matplotlib.collections import QuadMesh

from cres.system import SYSTEM
from reconstruction.training.learning.metrics import Collected
from reconstruction.training.watching.figures import draw

TARGETS = ("energy_eV", "pitch_angle_deg")
ROWS = 4000


def collected(std: float, off: float = 0.0) -> Collected:
    """Estimates that are off by `off` and scatter by 1, and state `std`."""
    truth = np.random.default_rng(0).normal(size=(ROWS, 2))
    mean = truth + off + np.random.default_rng(1).normal(size=(ROWS, 2))
    covariance = np.tile(std**2 * np.eye(2), (ROWS, 1, 1))
    spread = np.full((ROWS, 2), std)
    ends = np.stack([mean - 2 * std, mean + 2 * std], axis=-1)
    return Collected(np.arange(ROWS), mean, covariance, spread, ends, truth)


def pulls_title(one: Collected) -> str:
    figure = draw(one, TARGETS, "epoch 1", SYSTEM)
    figure.canvas.draw()
    return figure.axes[1].get_title()


def test_the_share_within_one_sigma_is_shown() -> None:
    one = collected(1.0)
    assert one.truth is not None
    share = np.mean(np.abs(one.mean - one.truth)[:, 0] <= 1)
    assert pulls_title(one).startswith(f"{100 * share:.0f} % within 1σ")
    assert share == pytest.approx(0.683, abs=0.03)


@pytest.mark.parametrize(("std", "off"), [(1e-6, 0.0), (1.0, 1e3)])
def test_pulls_beyond_the_axis_stand_in_its_ends(std: float, off: float) -> None:
    assert pulls_title(collected(std, off)).startswith("0 % within")


@pytest.mark.parametrize("std", [np.nan, 0.0])
def test_without_an_uncertainty_there_are_no_pulls(std: float) -> None:
    assert pulls_title(collected(std)) == "no uncertainty is stated"


def test_the_map_is_wide_where_the_errors_are() -> None:
    one = collected(1.0)
    assert one.truth is not None
    bad = one.truth[:, 1] > 0
    one.mean[bad] = one.truth[bad] + 50 * (one.mean[bad] - one.truth[bad])
    figure = draw(one, TARGETS, "epoch 1", SYSTEM)
    figure.canvas.draw()
    mesh = next(part for part in figure.axes[3].collections if isinstance(part, QuadMesh))
    cells = np.ma.filled(mesh.get_array(), np.nan)
    edges = mesh.get_coordinates()[:, 0, 1]
    wide = edges[:-1] > 0
    assert np.nanmin(cells[wide]) > 10 > 2 > np.nanmax(cells[edges[1:] < 0])
    assert np.isnan(cells[0, 0])


def test_without_a_second_target_or_a_spread_there_is_no_map() -> None:
    one = collected(1.0)
    assert one.truth is not None
    first = {name: getattr(one, name)[:, :1] for name in ("mean", "spread", "interval95", "truth")}
    single = replace(one, covariance=one.covariance[:, :1, :1], **first)
    assert len(draw(single, TARGETS[:1], "epoch 1", SYSTEM).axes) == 3
    draw(replace(one, mean=one.truth), TARGETS, "epoch 1", SYSTEM).canvas.draw()


def test_a_training_with_a_point_head_draws_itself(fit, tmp_path) -> None:
    point = [
        "--model.head=reconstruction.models.PointHead",
        "--model.loss=reconstruction.models.MSE",
        "--trainer.max_epochs=1",
    ]
    fit(tmp_path, *point, "--figures.every_epochs=1")
    assert (tmp_path / "figures" / "validation_0001.png").stat().st_size > 10_000
