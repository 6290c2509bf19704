"""The hub's SOAP service: the canonical transactions for parties that speak SOAP 1.1 or 1.2."""
