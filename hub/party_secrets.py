"""The parties' keys and passwords: one file, read when a process starts, never part of the rule book."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from hub.settings import InvalidSettings

Secrets = dict[str, dict[str, str]]


def read_secrets(path: str) -> Secrets:
    """Name -> value by party code; empty without a file. InvalidSettings says what is wrong and repeats no value."""
    if not path:
        return {}
    try:
        content: Any = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except (OSError, UnicodeError, yaml.YAMLError) as error:
        raise InvalidSettings(f"HUB_PARTY_SECRETS: {path} cannot be read: {type(error).__name__}") from None
    if not isinstance(content, dict):
        raise InvalidSettings(f"HUB_PARTY_SECRETS: {path} must hold PARTY: {{name: value}}")
    for party, named in content.items():
        if not isinstance(named, dict) or not all(isinstance(value, str) for value in named.values()):
            raise InvalidSettings(f"HUB_PARTY_SECRETS: {party} must hold names with text; put numbers in quotes")
    return {str(party): {str(name): value for name, value in named.items()} for party, named in content.items()}
