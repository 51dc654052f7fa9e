"""The values of the registry: digests, names, descriptors, manifests, ranges. Pure, no I/O."""
