"""Containers in Docker (or Podman, through the same socket)."""

from chi_edge_lab.local.engines.docker.engine import DockerEngine

__all__ = ["DockerEngine"]
