"""Command lines of the scripts: see `reconstruction.command`, which every system shares."""

from reconstruction.command import Parser, number, plain_name, task, whole

__all__ = ["Parser", "number", "plain_name", "task", "whole"]
