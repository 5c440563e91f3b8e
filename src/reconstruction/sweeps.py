"""Sweeps: one configuration with some of its values varied; point i is the same wherever and whenever it is made.

Planning a point imports neither torch nor Lightning: every task of an array job does it before it starts.
"""

from __future__ import annotations

import glob
import itertools
import json
import os
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import yaml

from reconstruction import studies
from reconstruction.command import is_plain_name
from reconstruction.errors import UserError, nearest
from reconstruction.paths import all_expanded, expanded
from reconstruction.yaml_files import read_yaml

RUNS = Path("runs")
METHODS = ("grid", "random", "adaptive")
MONITOR = "checkpoint.monitor"
WHAT_LOSS_MEANS = ("model.loss", "model.head", "model.targets", "data.targets")
"""Keys that change what a value of the loss means."""
KEYS = ("name", "base", "method", "points", "seed", "axes", "fixed")
RANGE_KEYS = ("low", "high", "scale", "integer")
SCALES = ("linear", "log")
SIGNIFICANT_DIGITS = 4


@dataclass(frozen=True)
class Range:
    """All numbers from `low` to `high`, even in the logarithm if `logarithmic`; whole numbers if `integer`."""

    low: float
    high: float
    logarithmic: bool = False
    integer: bool = False

    def at(self, fraction: float) -> float | int:
        """Return the number a fraction in [0, 1) of the way, rounded to four digits."""
        high = self.high + 1 if self.integer else self.high
        if self.logarithmic:
            value = self.low * (high / self.low) ** fraction
        else:
            value = self.low + fraction * (high - self.low)
        return int(value) if self.integer else self.rounded(value)

    def rounded(self, value: float) -> float:
        """Return a number of the range with four digits."""
        return min(max(float(f"{value:.{SIGNIFICANT_DIGITS}g}"), self.low), self.high)


Axis = list[Any] | Range


@dataclass(frozen=True)
class Sweep:
    """What a sweep file says. A plain configuration is a sweep of one point.

    `axes` maps a dotted key, or several separated by commas that vary together, to its values; `fixed` are dotted keys
    that every point has.
    """

    name: str
    base: Path
    method: str = "grid"
    points: int = 1
    seed: int = 0
    axes: Mapping[str, Axis] = field(default_factory=dict)
    fixed: Mapping[str, Any] = field(default_factory=dict)
    is_sweep: bool = True

    def __len__(self) -> int:
        return self.points

    def settings(self, index: int) -> dict[str, Any]:
        """Return what point `index` varies: dotted key → value. Raises UserError for an index that is no point.

        Of an adaptive sweep it is an example: what a point has is known when it starts.
        """
        self.require(index)
        return by_key(self._on_grid(index) if self.method == "grid" else self._drawn(index))

    def require(self, index: int) -> None:
        """Raise UserError for an index that is no point."""
        if not 0 <= index < len(self):
            self._refuse(index)

    def _refuse(self, index: int) -> NoReturn:
        if not self.is_sweep:
            raise UserError(
                f"{self.base} is one training and has no point {index}: an array wants a sweep file, such as those in "
                "configs/sweeps/ (one training under several seeds: configs/sweeps/seeds.yaml)"
            )
        raise UserError(f"{self.name} has {len(self)} points, so there is no point {index}: --array=0-{len(self) - 1}")

    def _on_grid(self, index: int) -> dict[str, Any]:
        """Count through the grid, the last axis fastest."""
        lists = {key: values for key, values in self.axes.items() if isinstance(values, list)}
        places = np.unravel_index(index, [len(values) for values in lists.values()]) if lists else ()
        return {key: values[int(place)] for (key, values), place in zip(lists.items(), places, strict=True)}

    def _drawn(self, index: int) -> dict[str, Any]:
        """Draw each axis from its own stream, so that a new axis or more points change no value of the others."""
        return {key: _at(values, _fraction(self.seed, index, key)) for key, values in self.axes.items()}

    def folder(self, index: int, root: Path | None = None) -> Path:
        """Return where the point's run is written: runs/NAME/003, and runs/NAME for a plain configuration."""
        place = RUNS / self.name if root is None else root
        return place / f"{index:03d}" if self.is_sweep else place

    def arguments(self, index: int) -> list[str]:
        """Return the options of `cli.py fit` for a point, without the run's folder."""
        return self.options(self.settings(index))

    def options(self, settings: Mapping[str, Any]) -> list[str]:
        """Return the options of `cli.py fit` for a point that varies so."""
        settings = {**self.fixed, **settings}
        return ["-c", str(self.base), *(f"--{key}={as_text(value)}" for key, value in settings.items())]


def read(path: Path) -> Sweep:
    """Read a sweep file, or a configuration as a sweep of one point. Raises UserError."""
    content = _yaml(path)
    if not {"base", "axes"} & set(content):
        return Sweep(path.stem, path, is_sweep=False)
    for key in content:
        if key not in KEYS:
            raise UserError(f"{path}: a sweep has no {key!r}{nearest(key, KEYS)}; it has {', '.join(KEYS)}")
    missing = [key for key in ("base", "axes") if not content.get(key)]
    if missing:
        raise UserError(f"{path}: a sweep wants {' and '.join(missing)}")
    base = Path(os.path.normpath(path.parent / str(content["base"])))
    if not base.is_file():
        raise UserError(f"{path}: the configuration {base} does not exist (base is looked for beside the sweep file)")
    method = content.get("method", "grid")
    if method not in METHODS:
        raise UserError(f"{path}: method is {method!r}; it is one of {', '.join(METHODS)}")
    axes = {key: _axis(path, key, values, method) for key, values in _mapping(path, content, "axes").items()}
    points = _count(path, content, method, axes)
    fixed = _mapping(path, content, "fixed")
    _require_each_key_once(path, axes, fixed)
    if method == "adaptive":
        _require_one_metric(path, axes, fixed)
    seed = content.get("seed", 0)
    if isinstance(seed, bool) or not isinstance(seed, int) or seed < 0:
        raise UserError(f"{path}: seed is {seed!r}, but must be a whole number, 0 or more")
    return Sweep(_name(path, content), base, method, points, seed, axes, fixed)


def _require_each_key_once(path: Path, axes: Mapping[str, Any], fixed: Mapping[str, Any]) -> None:
    """Raise UserError where a point would get two values of a key, or a value of none."""
    keys = [*(key.strip() for axis in axes for key in axis.split(",")), *fixed]
    twice = next((key for place, key in enumerate(keys) if key in keys[:place]), None)
    if twice is not None:
        raise UserError(f"{path}: {twice} stands twice, in two axes or in axes and fixed: one value would be lost")
    if not all(keys):
        raise UserError(f"{path}: an axis wants the name of what it varies, such as model.optimiser.lr")


def _name(path: Path, content: Mapping[str, Any]) -> str:
    """Return a sweep's name, which its folder has too."""
    name = str(content.get("name", path.stem))
    if "name" in content and not is_plain_name(name):
        raise UserError(f"{path}: name is {name!r}, but the runs' folder has it: letters, digits, '_', '-' and '.'")
    return name


def plan(path: Path, index: int, overrides: Sequence[str] = (), ask: bool = True) -> tuple[Path, list[str]]:
    """Return the folder and the options of `cli.py fit` for a point, options of the command line last.

    `--run=FOLDER` among the overrides moves the runs there. A point of an adaptive sweep asks its study for values, or
    without `ask` has some example's. Raises UserError when the data do not exist.
    """
    sweep = read(path)
    root, others = root_of(sweep, overrides)
    settings = sweep.settings(index)
    _refuse_missing_data(sweep.base, [*sweep.options(settings), *others])
    if sweep.method == "adaptive" and ask:
        settings = by_key(studies.settings(sweep, index, root))
    study = [f"--study.journal={studies.journal(root)}", f"--study.point={index}"] if sweep.method == "adaptive" else []
    folder = sweep.folder(index, root)
    return folder, [*sweep.options(settings), *study, *others, f"--run={folder}"]


def root_of(sweep: Sweep, overrides: Sequence[str]) -> tuple[Path, list[str]]:
    """Return the folder of all runs of a sweep, which `--run=FOLDER` moves, and the other options."""
    roots = [expanded(text.removeprefix("--run=")) for text in overrides if text.startswith("--run=")]
    others = [text for text in overrides if not text.startswith("--run=")]
    return Path(roots[-1]) if roots else RUNS / sweep.name, others


def by_key(chosen: Mapping[str, Any]) -> dict[str, Any]:
    """Return dotted key → value from axis → value, where keys that vary together are one axis."""
    return {key: value for axis, values in chosen.items() for key, value in _split(axis, values)}


def wandb_file(path: Path) -> str:
    """Return the file for `wandb sweep` that searches the same space: YAML text. Raises UserError."""
    sweep = read(path)
    if not sweep.is_sweep:
        raise UserError(f"{path} is a configuration, not a sweep: see configs/sweeps/")
    together = [key for key in sweep.axes if "," in key]
    if together:
        raise UserError(f"{path}: W&B cannot vary {together[0]!r} together; give one key an axis")
    parameters: dict[str, Any] = {key: {"value": value} for key, value in sweep.fixed.items()}
    parameters |= {key: _wandb_parameter(values) for key, values in sweep.axes.items()}
    # a run of the agent knows its identity only in its environment, hence the shell
    start = f'exec python cli.py fit -c {sweep.base} "--run={RUNS}/{sweep.name}/$WANDB_RUN_ID" "$@"'
    content: dict[str, Any] = {
        "name": sweep.name,
        "project": "cres",
        "program": "cli.py",
        "method": "bayes" if sweep.method == "adaptive" else sweep.method,
        "metric": {"name": "val/loss", "goal": "minimize"},
        "parameters": parameters,
        "command": ["${env}", "bash", "-c", start, "cres", "${args}"],
    }
    if sweep.method != "grid":
        content["run_cap"] = len(sweep)
    head = f"# wandb sweep THIS_FILE, then on each machine: wandb agent SWEEP_ID; made from {path.name} by\n"
    return f"{head}# python scripts/sweep.py wandb\n{yaml.safe_dump(content, sort_keys=False, width=200)}"


def as_text(value: Any) -> str:
    """Return a value as the command line takes it: plain text, JSON for anything with an inner structure."""
    return value if isinstance(value, str) else json.dumps(value)


def _yaml(path: Path) -> dict[str, Any]:
    content = read_yaml(path)
    if not isinstance(content, dict):
        raise UserError(f"{path} is no configuration: it holds no keys")
    return content


def _mapping(path: Path, content: Mapping[str, Any], key: str) -> dict[str, Any]:
    values = content.get(key) or {}
    if not isinstance(values, dict):
        raise UserError(f"{path}: {key} wants lines of the form `model.optimiser.lr: …`")
    return values


def _axis(path: Path, key: str, values: Any, method: str) -> Axis:
    where = f"{path}: axis {key}"
    if isinstance(values, dict) and "," in key:
        raise UserError(f"{where} varies several keys together, so it wants a list of values, not a range")
    if isinstance(values, dict):
        return _range(where, values, method)
    if not isinstance(values, list) or not values:
        raise UserError(f"{where} wants a list of values, or low and high")
    keys = key.count(",") + 1
    if keys > 1 and any(not isinstance(value, list) or len(value) != keys for value in values):
        raise UserError(f"{where} varies {keys} keys together, so each of its values is a list of {keys}")
    return values


def _range(where: str, values: Mapping[str, Any], method: str) -> Range:
    for key in values:
        if key not in RANGE_KEYS:
            raise UserError(f"{where} has no {key!r}{nearest(str(key), RANGE_KEYS)}; it has {', '.join(RANGE_KEYS)}")
    if method == "grid":
        raise UserError(
            f"{where} is a range: `method: random` or `adaptive` draws from ranges, a grid wants a list of values"
        )
    try:
        low, high = float(values["low"]), float(values["high"])
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(f"{where} wants the numbers low and high") from error
    scale = values.get("scale", "linear")
    if scale not in SCALES:
        raise UserError(f"{where}: scale is {scale!r}; it is one of {', '.join(SCALES)}")
    if not low < high or (scale == "log" and low <= 0):
        raise UserError(f"{where} goes from {low:g} to {high:g}; it wants low < high, and 0 < low for scale: log")
    return Range(low, high, scale == "log", bool(values.get("integer", False)))


def _count(path: Path, content: Mapping[str, Any], method: str, axes: Mapping[str, Axis]) -> int:
    if method != "grid":
        points = content.get("points")
        if isinstance(points, bool) or not isinstance(points, int) or points < 1:
            raise UserError(f"{path}: a sweep with `method: {method}` wants `points`, how many to draw")
        return points
    if "points" in content:
        raise UserError(f"{path}: the points of a grid are counted from its axes; `points` is for the other methods")
    return int(np.prod([len(values) for values in axes.values() if isinstance(values, list)]))


def _require_one_metric(path: Path, axes: Mapping[str, Axis], fixed: Mapping[str, Any]) -> None:
    """Refuse an adaptive sweep whose points would be compared by losses that mean different things."""
    keys = [key.strip() for axis in axes for key in axis.split(",")]
    changes = [key for key in keys if key.startswith(WHAT_LOSS_MEANS)]
    if changes and MONITOR not in fixed:
        raise UserError(
            f"{path} varies {changes[0]}, which changes what the loss means, so points cannot be compared by it: fix "
            f"another metric, such as `{MONITOR}: val/energy_sigma68_eV` under `fixed`"
        )


def _fraction(seed: int, index: int, key: str) -> float:
    return float(np.random.default_rng([seed, index, zlib.crc32(key.encode())]).random())


def _at(values: Axis, fraction: float) -> Any:
    return values.at(fraction) if isinstance(values, Range) else values[int(fraction * len(values))]


def _split(axis: str, value: Any) -> list[tuple[str, Any]]:
    keys = [key.strip() for key in axis.split(",")]
    return list(zip(keys, value, strict=True)) if len(keys) > 1 else [(keys[0], value)]


def _wandb_parameter(values: Axis) -> dict[str, Any]:
    if isinstance(values, list):
        return {"values": values}
    if values.integer:
        kind = "q_log_uniform_values" if values.logarithmic else "int_uniform"
        return {"distribution": kind, "min": int(values.low), "max": int(values.high)}
    kind = "log_uniform_values" if values.logarithmic else "uniform"
    return {"distribution": kind, "min": values.low, "max": values.high}


def _refuse_missing_data(base: Path, arguments: Sequence[str]) -> None:
    """Refuse at once what the training would refuse after its start."""
    wanted = _yaml(base).get("data") or {}
    value = wanted.get("data") if isinstance(wanted, dict) else None
    for text, following in itertools.zip_longest(arguments, arguments[1:], fillvalue=""):
        if text.startswith("--data.data="):
            value = all_expanded(yaml.safe_load(text.partition("=")[2]))
        elif text == "--data.data":
            value = all_expanded(yaml.safe_load(following))
    for place in [value] if isinstance(value, str) else value or []:
        if not glob.glob(str(place)):  # noqa: PTH207  (absolute patterns too)
            raise UserError(
                f"there are no data {place}: make them with scripts/data_prep.py, or name others by --data.data"
            )
