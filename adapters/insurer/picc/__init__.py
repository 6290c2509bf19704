"""Insurers of the PICC type: SOAP rpc/encoded with an XML string, transactions H2xx and H3xx."""
