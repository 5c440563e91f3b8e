"""Constants, cyclotron motion, traps, the cavity and the beta spectrum: pure functions in float64."""
