"""cres: electrons from Cyclotron Radiation Emission Spectroscopy, from I/Q volts to the tritium endpoint.

    import cres

    electrons = cres.simulate(100, "tritium")        # truth and volts
    model = cres.pretrained()                        # or cres.load("runs/s4d")
    estimates = model(electrons)                     # or model(volts)
    fit = cres.fit_endpoint(estimates, calibration)
    cres.browse("runs/s4d")                          # a page to look at electrons one by one

These verbs are loaded when they are first used: `import cres` alone imports nothing else.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cres.moved import MOVED
from reconstruction.moved import MovedModules
from reconstruction.provenance import VERSION

if TYPE_CHECKING:
    from cres.api import Estimates, Model, SimulatedRecords, browse, fit_endpoint, load, pretrained, simulate

MovedModules(MOVED).install()

__version__ = VERSION

__all__ = ["Estimates", "Model", "SimulatedRecords", "browse", "fit_endpoint", "load", "pretrained", "simulate"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'cres' has no attribute {name!r}")
    from cres import api

    value = getattr(api, name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
