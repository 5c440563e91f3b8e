"""Settings of an apparatus as a vector, and how it modulates what networks compute."""
