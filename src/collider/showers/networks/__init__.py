"""Networks for showers under the core's contract of encoders: over layers, over the volume, over a graph of cells."""

from collider.showers.networks.graph import GraphEncoder
from collider.showers.networks.layers import LayerTransformerEncoder
from collider.showers.networks.volume import VolumeEncoder

__all__ = ["GraphEncoder", "LayerTransformerEncoder", "VolumeEncoder"]
