"""cres: electrons from Cyclotron Radiation Emission Spectroscopy, from I/Q volts to the tritium endpoint."""

from importlib.metadata import version

__version__ = version("cres")
