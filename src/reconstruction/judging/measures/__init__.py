"""Figures of tables, with intervals."""
