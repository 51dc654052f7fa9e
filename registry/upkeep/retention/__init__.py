"""Retention: tags that no rule keeps go by themselves, and what no tag leads to."""
