"""Networks of particle flow under the core's contract of encoders: a graph about a candidate, a jet as a set."""

from collider.detectors.networks.flow_graph import FlowGraphEncoder
from collider.detectors.networks.object_set import ObjectSetEncoder

__all__ = ["FlowGraphEncoder", "ObjectSetEncoder"]
