"""Electrons → I/Q volts: start values, motion, cavity, receiver, files."""

from cres.simulation.config import SimulationConfig
from cres.simulation.device_stream import DeviceElectrons
from cres.simulation.electrons import Electrons, sample_electrons
from cres.simulation.forward import ForwardModel
from cres.simulation.generate import simulate_columns, stream_records
from cres.simulation.parameters import PARAMETERS, parameter_rows, parameters_of
from cres.simulation.source import SimulatedElectrons

__all__ = [
    "PARAMETERS",
    "DeviceElectrons",
    "Electrons",
    "ForwardModel",
    "SimulatedElectrons",
    "SimulationConfig",
    "parameter_rows",
    "parameters_of",
    "sample_electrons",
    "simulate_columns",
    "stream_records",
]
