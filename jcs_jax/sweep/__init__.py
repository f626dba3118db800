"""Many training runs from one grid of configs: what they are, running them, and one table of their results."""
