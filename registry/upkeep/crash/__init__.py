"""The crash test: registries are killed at every file call, and what they leave is judged."""
