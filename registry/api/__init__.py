"""The HTTP door: parse, authorise, call core, render. Files are named by endpoint."""
