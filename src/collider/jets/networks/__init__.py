"""Networks of a jet's particles, encoders of the core: Particle Transformer, LorentzParT, slim L-GATr, Deep Set"""

from collider.jets.networks.deep_set import DeepSetEncoder
from collider.jets.networks.lorentz import LorentzParticleTransformer
from collider.jets.networks.slim import SlimLorentzTransformer
from collider.jets.networks.transformer import ParticleTransformer

__all__ = ["DeepSetEncoder", "LorentzParticleTransformer", "ParticleTransformer", "SlimLorentzTransformer"]
