"""Canonical REST insurers."""
