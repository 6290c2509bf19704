"""Insurers that speak the hub's own messages, by REST or through their queue."""
