"""The shape of the code, held to what ARCHITECTURE.md and the pages say about it."""
