"""Training, prediction and the command line, for any system."""
