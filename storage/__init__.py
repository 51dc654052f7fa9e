"""Bytes under keys: the contract and its drivers. Knows no OCI and no HTTP, and never imports `registry`."""
