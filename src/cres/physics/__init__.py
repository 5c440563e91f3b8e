"""Constants, cyclotron motion, traps, the cavity and the beta spectrum: pure functions in float64."""

from cres.physics.beta import beta_spectrum_rate as beta_spectrum_rate
from cres.physics.beta import sample_beta_spectrum as sample_beta_spectrum
