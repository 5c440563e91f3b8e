"""MLflow as a logger beside metrics.csv: off unless it is named, into a folder or a server of the user's."""

import csv

import pytest


def test_a_training_logs_to_mlflow_when_it_is_asked_to(fit, tmp_path, monkeypatch):
    mlflow = pytest.importorskip("mlflow")
    monkeypatch.chdir(tmp_path)
    # its store of plain files, which needs no server and no database
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    store = (tmp_path / "mlruns").as_uri()
    logger = ["--trainer.logger=MLFlowLogger", f"--trainer.logger.tracking_uri={store}"]
    fit(tmp_path / "run", "--trainer.max_epochs=2", *logger, "--trainer.logger.experiment_name=cres")
    client = mlflow.tracking.MlflowClient(tracking_uri=store)
    (run,) = client.search_runs([client.get_experiment_by_name("cres").experiment_id])
    assert run.info.status == "FINISHED"
    with (tmp_path / "run" / "metrics.csv").open() as stream:
        losses = [float(row["val/loss"]) for row in csv.DictReader(stream) if row["val/loss"]]
    logged = [metric.value for metric in client.get_metric_history(run.info.run_id, "val/loss")]
    assert logged == pytest.approx(losses, rel=1e-6)


def test_nothing_of_it_is_there_when_it_is_not(fit, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    fit(tmp_path / "run", "--trainer.max_epochs=1")
    assert not (tmp_path / "mlruns").exists()
