"""Every estimator by its name, from the electrons that are asked for to a predictions table."""

from cres.estimation.methods.registry import METHODS, run
from cres.estimation.methods.task import Task

__all__ = ["METHODS", "Task", "run"]
