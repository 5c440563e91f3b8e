"""Networks of a jet's particles under the core's contract of encoders: Particle Transformer, LorentzParT, Deep Set"""

from collider.jets.networks.deep_set import DeepSetEncoder
from collider.jets.networks.lorentz import LorentzParticleTransformer
from collider.jets.networks.transformer import ParticleTransformer

__all__ = ["DeepSetEncoder", "LorentzParticleTransformer", "ParticleTransformer"]
