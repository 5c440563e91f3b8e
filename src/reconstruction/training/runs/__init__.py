"""Runs and their files: begun, gone on with, used."""
