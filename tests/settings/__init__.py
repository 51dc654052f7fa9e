"""The HTTP server on real sockets and processes."""
