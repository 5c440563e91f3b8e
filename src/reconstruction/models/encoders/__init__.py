"""From a series to features."""
