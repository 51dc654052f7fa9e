"""Work besides answering requests: what serving processes do on their own, and operations."""
