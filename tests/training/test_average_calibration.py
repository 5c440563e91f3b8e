"""The calibration is that of the weights that predict: the average, not those that the last step left."""

from __future__ import annotations

import torch

from reconstruction.training.learning.averaging import AVERAGE, evaluation_weights
from reconstruction.training.learning.checkpoints import read_checkpoint
from reconstruction.training.runs import calibrating


def test_the_average_of_the_weights_is_what_is_calibrated(fit, tmp_path, monkeypatch):
    seen = []
    validation = calibrating._validation

    def watched(module, *arguments):
        seen.append({name: value.detach().clone() for name, value in module.named_parameters()})
        return validation(module, *arguments)

    monkeypatch.setattr(calibrating, "_validation", watched)
    # so slow an average is still far behind the weights when the training ends
    fit(tmp_path, "--data.fractions=[0.6,0.2,0.2]", "--trainer.max_epochs=2", "--model.ema_decay=0.98")
    checkpoints = [read_checkpoint(tmp_path / "checkpoints" / f"{name}.ckpt") for name in ("best", "last")]
    calibrated = [name for name in seen[0] if name.startswith("reconstructor.") and "calibration" not in name]
    wanted = [evaluation_weights(checkpoint) for checkpoint in checkpoints]
    for weights in seen:
        assert any(all(torch.equal(weights[name], one[name]) for name in calibrated) for one in wanted)
    name, other = next(iter(checkpoints[1][AVERAGE]["other"].items()))
    assert not torch.equal(checkpoints[1]["state_dict"][f"reconstructor.{name}"], other)
