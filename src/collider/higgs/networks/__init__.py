"""ParticleNet under the core's contract of encoders."""

from collider.higgs.networks.particle_net import ParticleNetEncoder

__all__ = ["ParticleNetEncoder"]
