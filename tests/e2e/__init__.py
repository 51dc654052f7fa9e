"""Tests that drive real programs: clients of other projects, other registries, and our own server process."""
