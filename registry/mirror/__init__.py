"""Mirrors: namespaces whose content comes from other registries, is kept, and outlives them."""
