"""Insurers that consume their own queue."""
