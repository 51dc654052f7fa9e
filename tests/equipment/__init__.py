"""The foreign programs that the tests drive: what they are, where they lie, and how each is installed."""
