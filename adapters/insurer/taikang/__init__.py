"""Insurers behind a direct-billing platform of the Taikang type: JSON packages, AES, tokens, several calls per case."""
