"""What is CRES about training: the module and its curriculum, long records, cuts, export, the page of electrons."""

from cres.training.module import CresModule
from reconstruction.training.network.reconstructor import Reconstructor
from reconstruction.training.runs.loading import build_module, load_ensemble, load_module, load_reconstructor

__all__ = ["CresModule", "Reconstructor", "build_module", "load_ensemble", "load_module", "load_reconstructor"]
