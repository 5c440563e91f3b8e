"""The steps of a training, and what they leave behind."""
