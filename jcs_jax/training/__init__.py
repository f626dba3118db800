"""Functional training: pure steps over a plain state."""
