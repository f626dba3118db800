"""Exported networks, run by other programs than JAX."""
