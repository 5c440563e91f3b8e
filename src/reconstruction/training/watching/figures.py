"""Pictures of the validation split every few epochs: residuals, pulls, and resolution over the targets."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from numpy.typing import NDArray

from reconstruction.errors import UserError
from reconstruction.judging.measures.metrics import sigma68
from reconstruction.judging.pictures.class_plots import draw_confusion, draw_reliability
from reconstruction.judging.pictures.plots import Curve, styled
from reconstruction.system import System
from reconstruction.training.learning.learner import Learner
from reconstruction.training.learning.metrics import Collected, told_of
from reconstruction.training.watching.loggers import WandbMetrics

Values = NDArray[Any]
FEWEST_IN_A_CELL = 12


class Figures(pl.Callback):
    """Draw the validation split into the run's `figures/`.

    Args:
        every_epochs: Draw after so many epochs, and after the last; 0 means never.

    """

    def __init__(self, every_epochs: int = 5) -> None:
        if every_epochs < 0:
            raise UserError("figures.every_epochs must not be negative")
        self.every_epochs = every_epochs

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Draw when it is time, on one process."""
        assert isinstance(pl_module, Learner)
        done = trainer.current_epoch + 1
        due = self.every_epochs > 0 and (done % self.every_epochs == 0 or done == trainer.max_epochs)
        collected = pl_module.last_validation
        if not (due and trainer.is_global_zero) or collected is None or collected.truth is None:
            return
        folder = Path(trainer.default_root_dir) / "figures"
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"validation_{done:04d}.png"
        _picture(collected, pl_module, f"epoch {done}").savefig(path, dpi=100)
        for logger in trainer.loggers:
            if isinstance(logger, WandbMetrics):
                logger.log_figure("validation", path, trainer.global_step)


def _picture(collected: Collected, module: Learner, title: str) -> Figure:
    classes = module.reconstructor.head.classes
    if classes:
        return draw_classes(collected, list(classes), title, module.system)
    return draw(collected, module.targets, title, module.system)


@styled
def draw_classes(collected: Collected, names: Sequence[str], title: str, system: System) -> Figure:
    """Return who was taken for which class, and how often what is said to be probable is so."""
    told = told_of(collected)
    told = told.select(told.usable)
    figure = Figure(figsize=(10, 4.5), layout="constrained")
    confusion, reliability = figure.subplots(1, 2)
    draw_confusion(confusion, told.confusion(), names)
    draw_reliability(reliability, told, Curve("", np.zeros(0), None, 0))
    reliability.set(xlabel="stated probability to be right", ylabel="right")
    figure.suptitle(f"{title}: validation, {system.count(len(collected))}")
    return figure


def draw(collected: Collected, targets: tuple[str, ...], title: str, system: System) -> Figure:
    """Return one row a target: residuals, pulls beside the unit Gaussian, residual against truth, resolution map.

    The map is drawn over the first two targets, where there are two.
    """
    assert collected.truth is not None
    # no pyplot: a training neither needs a display nor keeps figures in memory
    columns = 4 if len(targets) > 1 else 3
    figure = Figure(figsize=(4 * columns, 3.2 * len(targets)), layout="constrained")
    axes = figure.subplots(len(targets), columns, squeeze=False)
    residual = collected.mean - collected.truth
    for i, name in enumerate(targets):
        _residuals(axes[i, 0], residual[:, i], name, system)
        _pulls(axes[i, 1], residual[:, i], collected.std[:, i])
        _against_truth(axes[i, 2], collected.truth[:, i], residual[:, i], name, system)
        if columns == 4:
            _map(axes[i, 3], collected.truth[:, :2], residual[:, i], name, targets, system)
        axes[i, 0].locator_params(axis="x", nbins=5)
    figure.suptitle(f"{title}: validation, {system.count(len(collected))}")
    return figure


def _residuals(axes: Axes, residual: Values, name: str, system: System) -> None:
    width = sigma68(residual)
    reach = 5 * width if width > 0 else 1.0
    axes.hist(
        np.clip(residual, -reach, reach), bins=np.linspace(-reach, reach, 51).tolist(), histtype="stepfilled", alpha=0.6
    )
    axes.set(xlabel=f"estimate − truth, {system.described(name)}", ylabel=system.nouns)
    axes.set_title(f"σ68 = {width:.3g} {system.unit(name)}; ends hold the tails", fontsize="medium")


def _pulls(axes: Axes, residual: Values, std: Values) -> None:
    axes.set(xlabel="residual / stated uncertainty", ylabel="density")
    stated = np.isfinite(residual) & np.isfinite(std) & (std > 0)
    if not stated.any():
        axes.set_title("no uncertainty is stated", fontsize="medium")
        return
    pull = residual[stated] / std[stated]
    grid = np.linspace(-5, 5, 51)
    axes.hist(np.clip(pull, -5, 5), bins=grid.tolist(), density=True, histtype="stepfilled", alpha=0.6)
    axes.plot(grid, np.exp(-(grid**2) / 2) / np.sqrt(2 * np.pi), "k--", label="honest")
    axes.set_title(f"{100 * float(np.mean(np.abs(pull) <= 1)):.0f} % within 1σ (68 % is honest)", fontsize="medium")
    axes.legend(frameon=False)


def _against_truth(axes: Axes, truth: Values, residual: Values, name: str, system: System) -> None:
    reach = 5 * sigma68(residual) or 1.0
    axes.plot(truth, np.clip(residual, -reach, reach), ".", markersize=3, alpha=0.5)
    axes.axhline(0, color="k", linewidth=0.8)
    axes.set(xlabel=f"true {system.described(name)}", ylabel=f"residual ({system.unit(name)})")


def _map(axes: Axes, truth: Values, residual: Values, name: str, targets: tuple[str, ...], system: System) -> None:
    """Colour σ68 over both targets, (rows, 2), in cells of about forty rows; cells of few stay grey."""
    count = int(np.clip(np.sqrt(len(truth) / 40), 1, 12))
    edges = [_edges(truth[:, i], count) for i in range(2)]
    places = [np.clip(np.searchsorted(edges[i], truth[:, i], side="right") - 1, 0, count - 1) for i in range(2)]
    cells = np.full((count, count), np.nan)
    for across in range(count):
        for up in range(count):
            inside = residual[(places[0] == across) & (places[1] == up)]
            if len(inside) >= FEWEST_IN_A_CELL and (width := sigma68(inside)) > 0:
                cells[up, across] = width
    axes.set(
        xlabel=f"true {system.described(targets[0])}",
        ylabel=f"true {system.described(targets[1])}",
        facecolor="#dddddd",
    )
    if np.isfinite(cells).any():
        mesh = axes.pcolormesh(*edges, cells, norm=LogNorm(), cmap="cividis")
        axes.figure.colorbar(mesh, ax=axes, label=f"σ68 ({system.unit(name)})")


def _edges(truth: Values, count: int) -> Values:
    low, high = truth.min(), truth.max()
    return np.linspace(low, high if high > low else low + 1, count + 1)
