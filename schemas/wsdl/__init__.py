"""The basic system's service contract: WSDL and XSD, vendored, never fetched."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

BASIC_NAMESPACE = "urn:settlement-hub:basic:v1"
BASIC_BINDING_11 = f"{{{BASIC_NAMESPACE}}}BasicSettlement11"
BASIC_BINDING_12 = f"{{{BASIC_NAMESPACE}}}BasicSettlement12"


def basic_wsdl() -> Path:
    """The WSDL of the basic system's service; it imports the XSD beside it."""
    return _path("basic_settlement.wsdl")


def basic_xsd() -> Path:
    """The message schema of the basic system's service."""
    return _path("basic_settlement.xsd")


def _path(name: str) -> Path:
    return Path(str(files(__name__).joinpath(name)))
