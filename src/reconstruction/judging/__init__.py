"""Tables of predictions, their resolution and calibration, plots and the report. Sees tables, never models."""
