"""From features to distributions, their losses and their calibration."""
