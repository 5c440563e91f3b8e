"""Coverage studies: pseudo-experiments in parallel, stored as they finish, resumed where they stopped."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cres.endpoint.binned import BinnedLikelihood
from cres.endpoint.endpoint_interval import endpoint_interval, massless
from cres.endpoint.fit import fit_endpoint
from cres.endpoint.pseudo import Experiment
from cres.endpoint.response import Response
from cres.endpoint.smeared import SmearedSpectra
from cres.errors import UserError
from cres.progress import track
from reconstruction.workers import process_pool

Array = NDArray[np.float64]
Toy = dict[str, Any]

COMMON_BIN_EV = 0.5


@dataclass(frozen=True)
class Coverage:
    """What a set of pseudo-experiments says; uncertainties are standard errors from their number.

    `inside` is the share of 68 % intervals that hold the true endpoint, `below` and `above` those of intervals that end
    below it and begin above it; `error_ev` the median stated uncertainty, `spread_ev` the standard deviation of the
    fitted endpoints; `gain` the median ratio of the uncertainty with one common resolution to that with each electron's
    own (None when it was not fitted). `low_share` is the share of fitted endpoints below the true one, and
    `unbiased_low_share` that of the median-unbiased ones (None without pseudo-experiments in the intervals).
    """

    toys: int
    failed: int
    pull_mean: float
    pull_mean_error: float
    pull_width: float
    pull_width_error: float
    inside: float
    inside_error: float
    below: float
    above: float
    low_share: float
    unbiased_low_share: float | None
    error_ev: float
    spread_ev: float
    gain: float | None
    seconds_per_fit: float

    def lines(self) -> list[str]:
        """Return the result in plain words."""
        text = [
            f"pseudo-experiments   {self.toys} ({self.failed} without both ends of the interval), "
            f"{self.seconds_per_fit:.2f} s a fit",
            f"endpoint pull        mean {self.pull_mean:+.3f} ± {self.pull_mean_error:.3f}, "
            f"width {self.pull_width:.3f} ± {self.pull_width_error:.3f}",
            f"68 % intervals hold  {self.inside:.1%} ± {self.inside_error:.1%}; {self.below:.1%} end below the truth, "
            f"{self.above:.1%} begin above",
            f"endpoints below truth {self.low_share:.1%} ± {0.5 / np.sqrt(self.toys):.1%}"
            + ("" if self.unbiased_low_share is None else f", median-unbiased ones {self.unbiased_low_share:.1%}"),
            f"endpoint uncertainty {self.error_ev:.3f} eV stated, {self.spread_ev:.3f} eV seen",
        ]
        if self.gain is not None:
            text.append(f"one common resolution in place of each electron's own: uncertainty × {self.gain:.3f}")
        return text


def run_toys(
    experiment: Experiment,
    count: int,
    path: Path,
    *,
    seed: int = 0,
    workers: int = 1,
    common: bool = False,
    task: tuple[int, int] | None = None,
    interval_toys: int | None = None,
) -> list[Toy]:
    """Make `count` pseudo-experiments, appending each to the JSON-lines file `path`; what is there is not made again.

    Toy i depends only on (seed, i). With `common` each is also fitted with one average resolution for all electrons.
    `task` (i, n) makes every n-th toy from i on, in a file of its own beside `path`; without it the files of such tasks
    are read too. `interval_toys`: pseudo-experiments that each interval rests on, None for what `endpoint_interval`
    chooses. Raises UserError when a file belongs to another study.
    """
    header: dict[str, Any] = {"experiment": _description(experiment), "seed": seed, "common": common}
    if interval_toys is not None:
        header["interval_toys"] = interval_toys
    done: dict[int, Toy] = {}
    wanted = range(count)
    if task is None:
        for part in path.parent.glob(f"{path.stem}-*-of-*{path.suffix}"):
            done |= _read(part, header, mend=False)
    else:
        path = path.with_name(f"{path.stem}-{task[0]}-of-{task[1]}{path.suffix}")
        wanted = wanted[task[0] :: task[1]]
    done |= _read(path, header)
    missing = [index for index in wanted if index not in done]
    if missing:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a") as stream:
            if not path.stat().st_size:
                stream.write(json.dumps(header, sort_keys=True) + "\n")
            made = _made(experiment, missing, seed, workers, common, interval_toys)
            for toy in track(made, "toys", len(missing), "toys"):
                stream.write(json.dumps(toy) + "\n")
                stream.flush()
                done[toy["index"]] = toy
    return [done[index] for index in wanted]


def run_toy(
    experiment: Experiment, seed: int, index: int, common: bool = False, interval_toys: int | None = None
) -> Toy:
    """Make and fit one pseudo-experiment on tabulated spectra; the interval is that of `endpoint_interval`."""
    energy, std, _ = experiment.generate(np.random.default_rng([seed, index]))
    spectra = _spectra(experiment)
    start = time.perf_counter()
    found = endpoint_interval(spectra, spectra.sample(energy, std), toys=interval_toys, seed=index)
    seconds = time.perf_counter() - start
    toy: Toy = {
        "index": index,
        "endpoint_ev": found.best_ev,
        "error_ev": 0.5 * (found.high_ev - found.low_ev) if found.found else None,
        "low_ev": found.low_ev if np.isfinite(found.low_ev) else None,
        "high_ev": found.high_ev if np.isfinite(found.high_ev) else None,
        "valid": found.found,
        "holds": found.holds(experiment.endpoint_ev),
        "unbiased_ev": found.median_unbiased_ev if found.toys else None,
        "electrons": len(energy),
        "seconds": seconds,
    }
    if common:
        average = fit_endpoint(_common(experiment).refilled(energy))
        toy |= {"common_endpoint_ev": average.endpoint_ev, "common_error_ev": average.endpoint_error_ev}
    return toy


def summarise(toys: list[Toy], endpoint_ev: float) -> Coverage:
    """Return pulls and coverage of the valid toys. Raises UserError when there are fewer than two."""
    good = [toy for toy in toys if toy["valid"]]
    if len(good) < 2:
        raise UserError(f"{len(good)} pseudo-experiments with a valid fit are too few to summarise")
    column = {name: np.array([toy[name] for toy in good], np.float64) for name in good[0]}
    pull = pulls(good, endpoint_ev)
    # an interval that is open to one side is one, too
    inside = float(np.mean([toy["holds"] for toy in toys]))
    number = len(good)
    gain = None
    if "common_error_ev" in column:
        gain = float(np.median(column["common_error_ev"] / column["error_ev"]))
    width = float(pull.std(ddof=1))
    return Coverage(
        toys=number,
        failed=len(toys) - number,
        pull_mean=float(pull.mean()),
        pull_mean_error=width / float(np.sqrt(number)),
        pull_width=width,
        pull_width_error=width / float(np.sqrt(2 * number)),
        inside=inside,
        inside_error=float(np.sqrt(inside * (1 - inside) / len(toys))),
        below=_share(toys, "high_ev", np.less, endpoint_ev),
        above=_share(toys, "low_ev", np.greater, endpoint_ev),
        low_share=_share(toys, "endpoint_ev", np.less, endpoint_ev),
        unbiased_low_share=None
        if good[0].get("unbiased_ev") is None
        else _share(toys, "unbiased_ev", np.less, endpoint_ev),
        error_ev=float(np.median(column["error_ev"])),
        spread_ev=float(column["endpoint_ev"].std(ddof=1)),
        gain=gain,
        seconds_per_fit=float(np.median(column["seconds"])),
    )


def pulls(toys: Sequence[Toy], endpoint_ev: float) -> Array:
    """Return (fitted − true endpoint) over the error towards the truth: the interval need not be symmetric, (toy,)."""
    found, low, high = (
        np.array([toy[name] for toy in toys], np.float64) for name in ("endpoint_ev", "low_ev", "high_ev")
    )
    return np.asarray((found - endpoint_ev) / np.where(found > endpoint_ev, found - low, high - found))


def _share(toys: Sequence[Toy], name: str, compared: np.ufunc, endpoint_ev: float) -> float:
    """Return the share of toys whose number `name` is less or greater than the true endpoint; none is neither."""
    values = np.array([toy[name] for toy in toys], np.float64)
    return float(np.mean(compared(values, endpoint_ev)))


def _made(
    experiment: Experiment, indices: list[int], seed: int, workers: int, common: bool, interval_toys: int | None
) -> Iterator[Toy]:
    if workers <= 1:
        for index in indices:
            yield run_toy(experiment, seed, index, common, interval_toys)
        return
    with process_pool(workers, [__name__]) as pool:
        number = len(indices)
        settings = [experiment] * number, [seed] * number, indices, [common] * number, [interval_toys] * number
        yield from pool.map(run_toy, *settings, chunksize=4)


def _read(path: Path, header: dict[str, Any], mend: bool = True) -> dict[int, Toy]:
    if not path.exists() or not path.stat().st_size:
        return {}
    whole, _, rest = _text(path).rpartition("\n")
    if rest and mend:
        # killed while it wrote: the last line is made again
        path.write_text(whole + "\n" if whole else "")
    lines = whole.splitlines()
    if not lines:
        return {}
    try:
        written, toys = json.loads(lines[0]), [json.loads(line) for line in lines[1:]]
    except json.JSONDecodeError as error:
        raise UserError(f"{path} is damaged: delete it to start again") from error
    if written != json.loads(json.dumps(header)):
        raise UserError(f"{path} belongs to another study (other settings or seed): move it or choose another --output")
    return {toy["index"]: toy for toy in toys}


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is damaged: delete it to start again") from error


def _description(experiment: Experiment) -> dict[str, Any]:
    states = experiment.physics.final_states
    plain = asdict(experiment)
    plain["physics"] = {
        "final_states": None if states is None else states.source,
        "corrections": sorted(experiment.physics.corrections),
    }
    return plain


@lru_cache(maxsize=4)
def _spectra(experiment: Experiment) -> SmearedSpectra:
    return massless(_response(experiment), experiment.window, experiment.physics)


@lru_cache(maxsize=4)
def _response(experiment: Experiment) -> Response:
    return experiment.response()


@lru_cache(maxsize=4)
def _common(experiment: Experiment) -> BinnedLikelihood:
    """Return the likelihood in fine bins, which uses one average resolution, without electrons."""
    bins = int(np.ceil(experiment.window.width_ev / COMMON_BIN_EV))
    empty = np.empty(0)
    return BinnedLikelihood(empty, empty, _response(experiment), experiment.window, experiment.physics, bins=bins)
