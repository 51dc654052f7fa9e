"""Moorage: an OCI-compatible private registry."""

__version__ = "0.1.0"
