"""Other registries and services: the one outbound client, the one egress door."""
