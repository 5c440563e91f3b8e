"""Electrons → I/Q volts: start values, motion, cavity, receiver, files."""

from cres.simulation.config import SimulationConfig
from cres.simulation.device_stream import DeviceElectrons
from cres.simulation.electrons import Electrons, sample_electrons
from cres.simulation.forward import PARAMETERS, ForwardModel
from cres.simulation.generate import simulate_columns, stream_records
from cres.simulation.source import SimulatedElectrons

__all__ = [
    "PARAMETERS",
    "DeviceElectrons",
    "Electrons",
    "ForwardModel",
    "SimulatedElectrons",
    "SimulationConfig",
    "sample_electrons",
    "simulate_columns",
    "stream_records",
]
