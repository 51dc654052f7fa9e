"""Moorage measured beside CNCF Distribution: `make bench`, or `python -m tests.bench`."""
