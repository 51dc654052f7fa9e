"""Bytes that no client should send, at a real server."""
