"""The hub as a server of the national institution interface: one address, one envelope, a handler per `infno`."""
