"""Estimators without a likelihood: curves and error bars are measured on the training split."""
