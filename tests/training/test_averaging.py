"""The average of the weights in a checkpoint, whichever of the two is in use when it is written."""

import pytest
import torch
from torch import nn

from reconstruction.training.learning.averaging import Average, evaluation_weights


@pytest.mark.parametrize("in_use", [False, True])
def test_a_training_goes_on_with_the_weights_and_is_judged_by_the_average(in_use):
    module, average = nn.ModuleDict({"reconstructor": nn.Linear(2, 1, bias=False)}), Average()
    inner = module["reconstructor"]
    nn.init.constant_(inner.weight, 1.0)
    average.update(inner, 0.5)
    nn.init.constant_(inner.weight, 3.0)
    average.update(inner, 0.5)  # 2, between 1 and 3
    if in_use:
        average.swap(inner)
    checkpoint = {"state_dict": {name: value.clone() for name, value in module.state_dict().items()}}
    average.store(checkpoint)
    judged, restored = evaluation_weights(checkpoint), Average()
    restored.restore(checkpoint)
    assert not restored.in_use
    name = "reconstructor.weight"
    torch.testing.assert_close(judged[name], torch.full((1, 2), 2.0))
    torch.testing.assert_close(checkpoint["state_dict"][name], torch.full((1, 2), 3.0))
    torch.testing.assert_close(restored.other["weight"], torch.full((1, 2), 2.0))
