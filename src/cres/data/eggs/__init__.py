"""Egg files of a digitiser or of Locust: long records of counts, cut to windows of volts."""

from cres.data.eggs.source import EggSource, open_egg

__all__ = ["EggSource", "open_egg"]
