"""Where metrics go: `metrics.csv` always, Weights & Biases beside it when the user asked for it, never fatal.

A run without a network, a key or a quota trains like any other and says so once.
"""

from __future__ import annotations

import configparser
import csv
import netrc
import os
import sys
import threading
from argparse import Namespace
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from lightning.pytorch.loggers import Logger
from lightning.pytorch.utilities import rank_zero_only, rank_zero_warn

from reconstruction.judging.sweeps.runs import WANDB_ID

WANDB_HOST = "api.wandb.ai"
TIMEOUT_S = 20.0
"""How long a step of Weights & Biases may take before it is given up."""


class CsvMetrics(Logger):
    """Append metrics to one CSV file, one row a step, without losing the rows of an earlier part of the run.

    A resumed run drops the rows that its predecessor wrote after the checkpoint. New columns rewrite the file.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.path = folder / "metrics.csv"
        self._columns: list[str] = ["step"]
        self._pending: dict[str, float | int] = {}
        self._started = False

    @property
    def name(self) -> str:
        """Name of the logger."""
        return "csv"

    @property
    def version(self) -> str:
        """A run has one file."""
        return ""

    @property
    def save_dir(self) -> str:
        """The run's folder."""
        return str(self.path.parent)

    @property
    def log_dir(self) -> str:
        """The run's folder."""
        return str(self.path.parent)

    def log_hyperparams(self, params: dict[str, Any] | Namespace, *args: Any, **kwargs: Any) -> None:
        """Do nothing: the configuration is in config.yaml."""

    def continue_from(self, step: int) -> None:
        """Keep the rows of an earlier part of this run up to an optimiser step."""
        if self.path.exists():
            with self.path.open(newline="") as stream:
                reader = csv.DictReader(stream)
                rows = [row for row in reader if int(row["step"] or 0) < step]
                self._columns = list(reader.fieldnames or ["step"])
            self._rewrite(rows)

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Write what belongs to one step; values of the same step share a row."""
        values: dict[str, float | int] = {"step": -1 if step is None else step, **metrics}
        if self._pending and self._pending["step"] != values["step"]:
            self.save()
        self._pending |= values

    @rank_zero_only
    def save(self) -> None:
        """Write the pending row to the disk."""
        if not self._pending:
            return
        row = {name: _text(value) for name, value in self._pending.items()}
        self._pending = {}
        new = [name for name in row if name not in self._columns]
        if new or not self._started:
            self._columns += new
            self._rewrite([*self._read(), row])
        else:
            with self.path.open("a", newline="") as stream:
                csv.DictWriter(stream, self._columns).writerow(row)

    def _read(self) -> list[dict[str, str]]:
        if not self._started:
            return []
        with self.path.open(newline="") as stream:
            return list(csv.DictReader(stream))

    def _rewrite(self, rows: list[dict[str, str]]) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        temporary = self.path.with_suffix(".csv.new")
        with temporary.open("w", newline="") as stream:
            writer = csv.DictWriter(stream, self._columns)
            writer.writeheader()
            writer.writerows(rows)
        temporary.replace(self.path)
        self._started = True

    @rank_zero_only
    def finalize(self, status: str) -> None:
        """Write what is pending."""
        self.save()


def _text(value: float | int) -> str:
    return f"{value:.10g}"


def wandb_wanted() -> bool:
    """Return whether the user is logged in to Weights & Biases or set WANDB_MODE (to anything but disabled)."""
    mode = os.environ.get("WANDB_MODE")
    if mode is not None:
        return mode.lower() not in ("disabled", "")
    if os.environ.get("WANDB_API_KEY"):
        return True
    try:
        return netrc.netrc(os.environ.get("NETRC")).authenticators(wandb_host()) is not None
    except (FileNotFoundError, netrc.NetrcParseError, OSError):
        return False


def wandb_host() -> str:
    """Return the server: that of WANDB_BASE_URL, else of W&B's own settings (`wandb login --host`), else theirs."""
    url = os.environ.get("WANDB_BASE_URL") or _url_in_settings()
    return urlsplit(url).hostname or WANDB_HOST


def _url_in_settings() -> str:
    """Return the server that `wandb login --host=URL` has stored; empty where there is none."""
    folder = Path(os.environ.get("WANDB_CONFIG_DIR") or Path.home() / ".config" / "wandb")
    settings = configparser.ConfigParser(interpolation=None)
    try:
        settings.read(folder / "settings", encoding="utf-8")
        return settings.get("default", "base_url", fallback="")
    except (configparser.Error, OSError, UnicodeDecodeError):
        return ""


class WandbMetrics(Logger):
    """Send metrics and figures to Weights & Biases; the first failure or time-out ends it with one warning.

    Args:
        folder: The run's folder; its name is the run's name and its stored id makes a resumed run go on as the same.
        project: Project on the server.
        config: What is stored as the run's configuration.
        timeout_s: How long the start may take.

    """

    def __init__(
        self, folder: Path, project: str, config: Mapping[str, Any] | None = None, timeout_s: float = TIMEOUT_S
    ) -> None:
        super().__init__()
        self.folder, self.project, self.timeout_s = folder, project, timeout_s
        self._config = dict(config or {})
        self._run: Any = None
        self._alive = True

    @property
    def name(self) -> str:
        """The project."""
        return self.project

    @property
    def version(self) -> str:
        """The identity of the run, the same after a restart."""
        return wandb_run_id(self.folder)

    @property
    def save_dir(self) -> str:
        """The run's folder."""
        return str(self.folder)

    @rank_zero_only
    def log_hyperparams(self, params: dict[str, Any] | Namespace, *args: Any, **kwargs: Any) -> None:
        """Do nothing: the configuration is handed over at the start."""

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Send metrics."""
        self._try(lambda run: run.log({**metrics, "trainer/global_step": step}))

    @rank_zero_only
    def log_figure(self, name: str, path: Path, step: int) -> None:
        """Send a picture."""

        def send(run: Any) -> None:
            import wandb

            run.log({f"figures/{name}": wandb.Image(str(path)), "trainer/global_step": step})

        self._try(send)

    @rank_zero_only
    def finalize(self, status: str) -> None:
        """Finish the run; never waits longer than the time-out."""
        if self._run is not None:
            code = 0 if status in ("success", "finished") else 1
            self._try(lambda run: run.finish(exit_code=code))
            self._run = None

    def _try(self, action: Callable[[Any], object]) -> None:
        if not self._alive:
            return
        try:
            if self._run is None:
                self._run = within(self._start, self.timeout_s)
            within(lambda: action(self._run), self.timeout_s)
        except Exception as error:  # whatever it is, a training does not end for it
            self._alive = False
            reason = (str(error).splitlines() or [type(error).__name__])[0]
            rank_zero_warn(f"Weights & Biases is left out from here on ({reason}); metrics.csv has everything")

    def _start(self) -> Any:
        import wandb

        settings = wandb.Settings(init_timeout=self.timeout_s, login_timeout=self.timeout_s, silent=True)
        return wandb.init(
            project=self.project,
            name=self.folder.name,
            id=self.version,
            dir=str(self.folder),
            resume="allow",
            config=self._config,
            settings=settings,
        )


def wandb_run_id(folder: Path) -> str:
    """Return the run's identity, made once and kept in its folder, so that a requeued job is the same run."""
    file = folder / WANDB_ID
    if not file.exists():
        folder.mkdir(parents=True, exist_ok=True)
        file.write_text(os.urandom(4).hex())
    return file.read_text().strip()


def within(action: Callable[[], object], timeout_s: float) -> Any:
    """Return what a call returns, or raise TimeoutError; a call that hangs is left behind in its daemon thread."""
    result: list[Any] = []
    failure: list[BaseException] = []

    def work() -> None:
        try:
            result.append(action())
        except BaseException as error:
            failure.append(error)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    thread.join(timeout_s)
    if thread.is_alive():
        raise TimeoutError(f"no answer within {timeout_s:g} s")
    if failure:
        raise failure[0]
    return result[0]


def make_loggers(
    folder: Path,
    project: str = "cres",
    config: Mapping[str, Any] | None = None,
    chosen: Any = None,
    keep: bool = True,
) -> list[Logger]:
    """Return the CSV logger, Weights & Biases' when it is wanted, and those that trainer.logger asks for.

    `chosen` is a logger, a list of them, or false for metrics.csv alone. A trial, without `keep`, has no others.
    """
    loggers: list[Logger] = [CsvMetrics(folder)]
    if not keep or chosen is False:
        return loggers
    if wandb_wanted():
        rank_zero_only(print)(
            f"metrics and figures also go to the project {project!r} on {wandb_host()}, where you are logged in; "
            "WANDB_MODE=disabled keeps them here",
            file=sys.stderr,
        )
        loggers.append(WandbMetrics(folder, project, config))
    more = chosen if isinstance(chosen, list | tuple) else [chosen]
    return [*loggers, *(one for one in more if isinstance(one, Logger))]
