"""Metrics always reach the CSV file, and Weights & Biases can only ever be left out."""

import csv
import sys
import time
import types

import pytest

from reconstruction.training.watching import loggers
from reconstruction.training.watching.loggers import (
    CsvMetrics,
    WandbMetrics,
    make_loggers,
    wandb_run_id,
    wandb_wanted,
    within,
)


def rows(folder):
    with (folder / "metrics.csv").open(newline="") as stream:
        return list(csv.DictReader(stream))


def test_one_row_a_step_and_new_columns(tmp_path):
    log = CsvMetrics(tmp_path)
    log.log_metrics({"loss": 1.0}, 0)
    log.log_metrics({"lr": 0.1}, 0)
    log.log_metrics({"loss": 0.5}, 1)
    log.log_metrics({"val": 0.25, "loss": 0.4}, 2)
    log.finalize("success")
    assert [row["loss"] for row in rows(tmp_path)] == ["1", "0.5", "0.4"]
    assert rows(tmp_path)[2]["val"] == "0.25"
    assert rows(tmp_path)[0]["lr"] == "0.1"


def test_a_resumed_run_keeps_what_came_before_its_checkpoint(tmp_path):
    first = CsvMetrics(tmp_path)
    for step in range(5):
        first.log_metrics({"loss": float(step)}, step)
    first.finalize("failed")
    second = CsvMetrics(tmp_path)
    second.continue_from(3)
    second.log_metrics({"loss": 30.0}, 3)
    second.finalize("success")
    assert [row["loss"] for row in rows(tmp_path)] == ["0", "1", "2", "30"]


def test_a_new_run_starts_a_new_file(tmp_path):
    for value in (1.0, 2.0):
        log = CsvMetrics(tmp_path)
        log.log_metrics({"loss": value}, 0)
        log.finalize("success")
    assert [row["loss"] for row in rows(tmp_path)] == ["2"]


@pytest.fixture
def nobody(monkeypatch, tmp_path):
    for name in ("WANDB_MODE", "WANDB_API_KEY", "WANDB_BASE_URL", "WANDB_CONFIG_DIR", "NETRC"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))


def logged_in_at(folder, host):
    (folder / ".netrc").write_text(f"machine {host}\n  login user\n  password {'0' * 40}\n")
    (folder / ".netrc").chmod(0o600)


def test_a_server_of_ones_own_is_used_after_its_login(nobody, monkeypatch, tmp_path):
    logged_in_at(tmp_path, "wandb.mylab.org")
    assert not wandb_wanted()  # that is no login at theirs
    monkeypatch.setenv("WANDB_BASE_URL", "https://wandb.mylab.org:8080")
    assert wandb_wanted()
    monkeypatch.setenv("WANDB_BASE_URL", "https://wandb.other.org")
    assert not wandb_wanted()
    monkeypatch.delenv("WANDB_BASE_URL")
    settings = tmp_path / ".config" / "wandb" / "settings"
    settings.parent.mkdir(parents=True)
    settings.write_text("[default]\nbase_url = https://wandb.mylab.org\n")  # what `wandb login --host` writes
    assert wandb_wanted()
    monkeypatch.setenv("NETRC", str(tmp_path / "elsewhere"))
    assert not wandb_wanted()


def test_weights_and_biases_is_used_only_when_asked_for(nobody, monkeypatch, tmp_path):
    assert not wandb_wanted()
    assert [type(logger) for logger in make_loggers(tmp_path)] == [CsvMetrics]
    monkeypatch.setenv("WANDB_MODE", "disabled")
    assert not wandb_wanted()
    monkeypatch.setenv("WANDB_MODE", "offline")
    assert wandb_wanted()
    monkeypatch.delenv("WANDB_MODE")
    (tmp_path / ".netrc").write_text("machine api.wandb.ai login user password key\n")
    (tmp_path / ".netrc").chmod(0o600)
    assert wandb_wanted()


class Refuses:
    def init(self, **_):
        raise RuntimeError("quota exceeded\nlong traceback")


class Hangs:
    def init(self, **_):
        time.sleep(60)


class Drops:
    def init(self, **_):
        return types.SimpleNamespace(log=self.drop, finish=lambda exit_code: None)

    def drop(self, metrics):
        raise ConnectionError("the server hung up")


@pytest.mark.parametrize(
    ("server", "reason"),
    [(Refuses(), "quota"), (Hangs(), "no answer"), (Drops(), "hung up")],
    ids=["no", "slow", "cut"],
)
def test_a_bad_server_costs_one_warning(monkeypatch, tmp_path, server, reason):
    fake = types.SimpleNamespace(init=server.init, Settings=lambda **settings: settings)
    monkeypatch.setitem(sys.modules, "wandb", fake)
    log = WandbMetrics(tmp_path, "cres", timeout_s=0.2)
    with pytest.warns(UserWarning, match=reason):
        log.log_metrics({"loss": 1.0}, 0)
    # warnings are errors here: from now on there is none
    log.log_metrics({"loss": 1.0}, 1)
    log.finalize("success")


def test_a_restarted_run_is_the_same_run(tmp_path):
    assert wandb_run_id(tmp_path) == wandb_run_id(tmp_path)


def test_within_passes_results_and_errors_on():
    assert within(lambda: 3, 1.0) == 3
    with pytest.raises(KeyError):
        within(lambda: {}["x"], 1.0)
    assert loggers.TIMEOUT_S <= 30


def test_an_upload_is_announced_before_it_begins(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("WANDB_MODE", "offline")
    make_loggers(tmp_path, "mine")
    told = capsys.readouterr().err
    assert "also go to the project 'mine' on api.wandb.ai" in told
    assert "WANDB_MODE=disabled" in told
    monkeypatch.setenv("WANDB_MODE", "disabled")
    make_loggers(tmp_path, "mine")
    assert capsys.readouterr().err == ""
