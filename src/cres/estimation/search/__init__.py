"""Where a record's lines are: spectra, peaks, templates and the matched filter."""

from cres.estimation.search.matched_filter import FALSE_ALARM_PROBABILITY, Found, MatchedFilter

__all__ = ["FALSE_ALARM_PROBABILITY", "Found", "MatchedFilter"]
