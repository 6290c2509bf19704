"""Service contracts, vendored, never fetched: the basic system's, and the hub's own (`schemas/wsdl_export.py`)."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

BASIC_NAMESPACE = "urn:settlement-hub:basic:v1"
BASIC_BINDING_11 = f"{{{BASIC_NAMESPACE}}}BasicSettlement11"
BASIC_BINDING_12 = f"{{{BASIC_NAMESPACE}}}BasicSettlement12"
HUB_WSDL = "settlement_hub.wsdl"
HUB_XSD = "settlement_hub.xsd"


def basic_wsdl() -> Path:
    """The WSDL of the basic system's service; it imports the XSD beside it."""
    return _path("basic_settlement.wsdl")


def basic_xsd() -> Path:
    """The message schema of the basic system's service."""
    return _path("basic_settlement.xsd")


def hub_xsd() -> Path:
    """The message schema of the hub's own service."""
    return _path(HUB_XSD)


def _path(name: str) -> Path:
    return Path(str(files(__name__).joinpath(name)))
