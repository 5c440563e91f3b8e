"""Training: the reconstructor, the LightningModule, curriculum, checkpoints, loggers, the command line."""
