"""What a resumed training may change, and whether there is anything left to do."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import lightning.pytorch as pl
from lightning.pytorch.callbacks import Timer

from reconstruction.errors import UserError
from reconstruction.system import attribute_of
from reconstruction.training.learning.learner import CARD

FIXED = ("seed_everything", "model", "data", "curriculum", "fine_tune")
"""Sections whose every change would make another training; of the others, what is asked for now is used."""
FREE = (
    "model.compile_encoders",
    "model.calibration",
    "data.data",  # the files may have moved; their rows are compared
    "data.workers",
    "data.start_method",
    "data.cache",
    "data.open_files",
    "data.memory_mb",
    "data.split_seed",
)
FIXED_OPTIONS = ("checkpoint.monitor", "early_stopping.monitor", "early_stopping.mode")


def refuse_changes(checkpoint: Mapping[str, Any], card: Mapping[str, Any]) -> None:
    """Raise UserError where a training would go on with other settings or rows than it began with."""
    before, now = (json.loads(one["ancestry"]["config"]) for one in (checkpoint[CARD], card))
    changes = [
        f"{name} was {_text(old)} and is {_text(new)} now"
        for name, (old, new) in _differences(before, now).items()
        if _is_fixed(name)
    ]
    if changes:
        more = f" (and {len(changes) - 3} more)" if len(changes) > 3 else ""
        raise UserError(
            f"--resume goes on with the training as it began, but {'; '.join(changes[:3])}{more}: leave that out, or "
            "train anew in another folder with --run"
        )
    old, new = checkpoint[CARD].get("data", {}).get("split", {}), card["data"]["split"]
    if old and old.get("train_events") != new["train_events"]:
        raise UserError(
            f"--resume goes on with the data that the training began with, but {old['train']} were in its "
            f"training split and {new['train']} others are now: give it the same data, or train anew with another --run"
        )


def _is_fixed(name: str) -> bool:
    free = any(name == one or name.startswith(f"{one}.") for one in FREE)
    return name in FIXED_OPTIONS or (name.partition(".")[0] in FIXED and not free)


def _differences(before: Any, now: Any, name: str = "") -> dict[str, tuple[Any, Any]]:
    """Return what differs by its dotted name; what only one of the two knows is an option of another version."""
    if not (isinstance(before, dict) and isinstance(now, dict)):
        return {} if before == now or _same_number(before, now) else {name: (before, now)}
    if not _same_class(before.get("class_path"), now.get("class_path")):
        return {name: (before.get("class_path"), now.get("class_path"))}
    found: dict[str, tuple[Any, Any]] = {}
    both = (before.keys() & now.keys()) - {"class_path"}
    # views and encoders are named by the user: there, one more or less is a change
    if name in ("model.views", "model.encoders") and before.keys() != now.keys():
        return {name: (", ".join(before), ", ".join(now))}
    for key in sorted(both):
        below = key if not name else f"{name}.{key}"
        found |= _differences(before[key], now[key], below.replace(".init_args", ""))
    return found


def _same_class(before: Any, now: Any) -> bool:
    """Whether two class paths lead to one class: it may have moved since."""
    if before == now or before is None or now is None:
        return bool(before == now)
    try:
        return attribute_of(str(before)) is attribute_of(str(now))
    except (ImportError, AttributeError, ValueError):
        return False


def _same_number(before: Any, now: Any) -> bool:
    try:
        return float(before) == float(now)
    except (TypeError, ValueError):
        return False


def _text(value: Any) -> str:
    return json.dumps(value) if isinstance(value, list | dict) or value is None else str(value)


def finished(checkpoint: Mapping[str, Any], trainer: pl.Trainer) -> str | None:
    """Return in words why a training needs no more steps, or None where it does."""
    epochs = int(checkpoint["loops"]["fit_loop"]["epoch_progress"]["current"]["processed"])
    steps = int(checkpoint["global_step"])
    for name, state in checkpoint.get("callbacks", {}).items():
        if name.startswith("EarlyStopping") and state.get("stopped_epoch"):
            patience = getattr(trainer.early_stopping_callback, "patience", state["patience"])
            if state["wait_count"] >= patience:
                return f"stopped early after {epochs} epochs, {patience} of them without improvement"
        if name.startswith("Timer") and _all_its_time(state, trainer):
            return f"has had its time, in which it took {steps} steps"
    if trainer.max_epochs is not None and 0 <= trainer.max_epochs <= epochs:
        return f"has all of its {trainer.max_epochs} epochs"
    if 0 <= trainer.max_steps <= steps:
        return f"has all of its {trainer.max_steps} steps"
    return None


def _all_its_time(state: Mapping[str, Any], trainer: pl.Trainer) -> bool:
    """Whether a training had all of the time that `trainer.max_time` gives it now, by its timer's state."""
    timer = next((one for one in trainer.callbacks if isinstance(one, Timer)), None)  # type: ignore[attr-defined]
    left = None if timer is None else timer.time_remaining()
    return left is not None and float(state["time_elapsed"]["train"]) >= left
