"""The rules: `Registry` gives repositories, and `Repository` is the only door to their content."""
