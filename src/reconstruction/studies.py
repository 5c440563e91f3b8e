"""Adaptive sweeps: each point is chosen by what the others found, and hopeless ones are ended early.

Optuna keeps the study in one journal beside the runs, a file that any number of processes on any number of machines
append to under a lock that holds on network file systems, too. A point of the sweep is a trial of the study, found
again by its number: an interrupted point goes on with the values that it had.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from reconstruction.errors import UserError

if TYPE_CHECKING:
    import optuna

    from reconstruction.sweeps import Axis, Sweep

JOURNAL: Final = "study.log"
"""File in the sweep's folder."""
POINT: Final = "point"
SPACE: Final = "space"

STARTUP_POINTS: Final = 8
"""So many points are drawn at random before the others follow them."""


def settings(sweep: Sweep, index: int, root: Path) -> dict[str, Any]:
    """Return what a point varies, axis → value: what it was given before, or what the study asks for now.

    Raises UserError where Optuna is missing or the study in `root` is of another space.
    """
    study = _of_sweep(sweep, root)
    if _trial(study, index) is None:
        study.sampler = _sampler(sweep, index)
        trial = study.ask()
        values = {key: _suggest(trial, key, axis) for key, axis in sweep.axes.items()}
        # the values first: whoever finds the point finds them, too
        trial.set_user_attr("values", values)
        trial.set_user_attr(POINT, index)
    found = _trial(study, index)
    assert found is not None
    values = found.user_attrs["values"]
    return {key: values[key] for key in sweep.axes}


def journal(root: Path) -> Path:
    """Return the file that holds the study of a sweep whose runs are in `root`."""
    return root / JOURNAL


def load(path: Path) -> optuna.Study:
    """Return the study in a journal. Raises UserError where Optuna is missing or there is no study."""
    optuna = _optuna()
    if not path.exists():
        raise UserError(f"there is no study {path}: `bash submit.sh SWEEP.yaml` makes it")
    try:
        # values are asked for elsewhere: this sampler is never used, and costs nothing
        return optuna.load_study(study_name=None, storage=_storage(path), sampler=optuna.samplers.RandomSampler())
    except (KeyError, ValueError) as error:
        raise UserError(f"{path} is no journal of a sweep's study ({error}): remove it to begin anew") from error


def knows(study: optuna.Study, index: int) -> bool:
    """Return whether a point was ever asked for."""
    return _trial(study, index) is not None


def tell(trial: optuna.Trial, outcome: str) -> None:
    """Tell how a trial ended: "complete", with its best score, "pruned" or "failed"."""
    states = _optuna().trial.TrialState
    scores = trial.study.trials[trial.number].intermediate_values.values()
    if outcome == "complete" and scores:
        trial.study.tell(trial.number, min(scores))
    else:
        trial.study.tell(trial.number, state=states.PRUNED if outcome == "pruned" else states.FAIL)


def trial_of(study: optuna.Study, index: int) -> optuna.Trial | None:
    """Return the point's trial to report to, or None where it is told already or was never asked for."""
    import optuna

    found = _trial(study, index)
    if found is None or found.state.is_finished():
        return None
    return optuna.Trial(study, found._trial_id)


def pruner(startup_points: int, warmup_epochs: int) -> optuna.pruners.BasePruner:
    """Return the rule: worse than the median of the others at the same epoch, once enough of them are finished."""
    # Optuna counts steps from 0, epochs count from 1
    return _optuna().pruners.MedianPruner(n_startup_trials=startup_points, n_warmup_steps=warmup_epochs + 1)


def _of_sweep(sweep: Sweep, root: Path) -> optuna.Study:
    """Return the sweep's study, made where there is none. Raises UserError where it is of another space."""
    optuna = _optuna()
    root.mkdir(parents=True, exist_ok=True)
    study = optuna.create_study(
        study_name=sweep.name, storage=_storage(journal(root)), direction="minimize", load_if_exists=True
    )
    space = {key: _described(axis) for key, axis in sweep.axes.items()}
    before = study.user_attrs.get(SPACE)
    if before is None:
        study.set_user_attr(SPACE, space)
    elif before != space:
        raise UserError(f"{journal(root)} is a study of other axes ({_difference(before, space)}): {_ELSEWHERE}")
    return study


_ELSEWHERE: Final = "give the sweep another name, or remove that folder"


def _difference(before: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    for key in [*before, *now]:
        if key not in now:
            return f"it varies {key}, which the sweep does not"
        if key not in before:
            return f"it does not vary {key}"
        if before[key] != now[key]:
            return f"{key} was {json.dumps(before[key])} and is {json.dumps(now[key])} now"
    return "in another order"


def _described(axis: Axis) -> Any:
    """Return an axis as it is compared and stored: a list of values, or the ends of a range and its kind."""
    if isinstance(axis, list):
        return json.loads(json.dumps(axis))
    return {"low": axis.low, "high": axis.high, "log": axis.logarithmic, "integer": axis.integer}


def _suggest(trial: optuna.Trial, key: str, axis: Axis) -> Any:
    if isinstance(axis, list):
        # categories are compared, so that an inner structure goes as the place in the list
        return axis[trial.suggest_categorical(key, list(range(len(axis))))]
    if axis.integer:
        return trial.suggest_int(key, round(axis.low), round(axis.high), log=axis.logarithmic)
    return axis.rounded(trial.suggest_float(key, axis.low, axis.high, log=axis.logarithmic))


def _trial(study: optuna.Study, index: int) -> optuna.trial.FrozenTrial | None:
    """Return the trial of a point; of two that were asked for at the same moment, the first."""
    found = [trial for trial in study.get_trials(deepcopy=False) if trial.user_attrs.get(POINT) == index]
    return min(found, key=lambda trial: trial.number, default=None)


def _sampler(sweep: Sweep, index: int) -> optuna.samplers.BaseSampler:
    """Return a tree-structured Parzen estimator with a stream of its own, that reckons with points still running."""
    seed = zlib.crc32(f"{sweep.seed}/{index}".encode())
    return _optuna().samplers.TPESampler(
        seed=seed, n_startup_trials=STARTUP_POINTS, multivariate=True, constant_liar=True
    )


def _storage(path: Path) -> optuna.storages.BaseStorage:
    storages = _optuna().storages
    return storages.JournalStorage(storages.journal.JournalFileBackend(str(path)))


def _optuna() -> Any:
    try:
        import optuna
    except ImportError as error:
        raise UserError(
            "a sweep with `method: adaptive` needs Optuna: pip install -c constraints.txt -e '.[sweeps]'"
        ) from error
    import warnings

    warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna
