"""Run by `test_device_stream`: the simulator on a device that there is not. Prints what came out, and where it lies.

A tensor that is left on the processor raises, and so does whatever the host would have to wait for.
"""

import torch
from torch._subclasses import FakeTensorMode
from torch.utils.backend_registration import _setup_privateuseone_for_python_backend

from cres.simulation import ForwardModel, SimulationConfig
from cres.simulation.device_stream import DeviceElectrons, StartValues

_setup_privateuseone_for_python_backend("pretend")

for tree in ({"more_channels": [{"phase_deg": 30.0}]}, {"readout": {"samples": 10_000}}):
    config = SimulationConfig.from_dict(tree)
    source, model = DeviceElectrons(config, "pretend"), ForwardModel(config)
    with FakeTensorMode():
        values = [torch.empty(3, dtype=torch.float64, device="pretend") for _ in range(7)]
        columns = source.records(StartValues(*values, torch.empty(3, dtype=torch.int64, device="pretend")))
        model._buffers["_time_s"] = torch.empty(config.readout.samples, dtype=torch.float64, device="pretend")
        found = [*columns.values()]
        found += model.jacobian(torch.empty(3, 6, dtype=torch.float64, device="pretend"))
    assert {value.device.type for value in found} == {"pretend"}
print("all on the device")
