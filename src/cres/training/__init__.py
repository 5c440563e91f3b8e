"""Training: the reconstructor, the LightningModule, curriculum, checkpoints, loggers, the command line."""

from cres.training.module import CresModule
from reconstruction.training.network.reconstructor import Reconstructor
from reconstruction.training.runs.loading import build_module, load_ensemble, load_module, load_reconstructor

__all__ = ["CresModule", "Reconstructor", "build_module", "load_ensemble", "load_module", "load_reconstructor"]
