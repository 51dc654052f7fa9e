"""The composition root: the only room that constructs things, for a server (`serving`) or a command."""
