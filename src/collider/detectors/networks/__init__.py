"""A graph network of particle flow under the core's contract of encoders."""

from collider.detectors.networks.flow_graph import FlowGraphEncoder

__all__ = ["FlowGraphEncoder"]
