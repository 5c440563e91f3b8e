"""Constants, cyclotron motion, traps, the cavity and the beta spectrum: pure functions in float64."""

from cres.physics.beta import beta_spectrum_rate as beta_spectrum_rate
from cres.physics.beta import sample_beta_spectrum as sample_beta_spectrum
from cres.physics.cavity import cavity_power_w as cavity_power_w
from cres.physics.cyclotron import chirp_rate_hz_per_s as chirp_rate_hz_per_s
from cres.physics.cyclotron import cyclotron_frequency_hz as cyclotron_frequency_hz
from cres.physics.cyclotron import kinetic_energy_ev as kinetic_energy_ev
from cres.physics.cyclotron import radiated_power_w as radiated_power_w
from cres.physics.traps import BathtubTrap as BathtubTrap
from cres.physics.traps import CoilTrap as CoilTrap
from cres.physics.traps import HarmonicTrap as HarmonicTrap
from cres.physics.traps import Trap as Trap
