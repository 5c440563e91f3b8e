"""Training: the reconstructor, the LightningModule, curriculum, checkpoints, loggers, the command line."""

from cres.training.loading import build_module, load_ensemble, load_module, load_reconstructor
from cres.training.module import CresModule
from cres.training.reconstructor import Reconstructor

__all__ = ["CresModule", "Reconstructor", "build_module", "load_ensemble", "load_module", "load_reconstructor"]
