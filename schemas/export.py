"""JSON Schema of every message that parties send or get: `python -m schemas.export [FOLDER]` writes the files."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel

from schemas.answer import CombinedAnswer, ErrorAnswer
from schemas.payer import ClaimCancel, ClaimTask
from schemas.statement_pages import StatementPage
from schemas.transactions import SPECS, answer_type

FOLDER = Path("docs/schemas")
DIALECT = "https://json-schema.org/draft/2020-12/schema"
Mode = Literal["validation", "serialization"]


MESSAGES: Mapping[str, tuple[type[BaseModel], Mode]] = {
    **{name.value: (spec.message, "validation") for name, spec in SPECS.items()},
    **{
        answer_type(name): (spec.answer, "serialization")
        for name, spec in SPECS.items()
        if spec.answer is not None and spec.answer is not CombinedAnswer
    },
    "settlement.answer": (CombinedAnswer, "serialization"),
    "error.answer": (ErrorAnswer, "serialization"),
    "claim.task": (ClaimTask, "serialization"),
    "claim.cancel": (ClaimCancel, "serialization"),
    "statement.page": (StatementPage, "validation"),
}
"""By the type that the message carries; `validation` for what the hub reads, `serialization` for what it sends."""


def schema_of(name: str) -> dict[str, Any]:
    """The JSON Schema (2020-12) of one message."""
    model, mode = MESSAGES[name]
    schema = model.model_json_schema(mode=mode)
    return {"$schema": DIALECT, "$id": f"urn:settlement-hub:schema:{name}:1", **schema}


def files() -> dict[str, str]:
    """File name -> content."""
    return {
        f"{name}.json": json.dumps(schema_of(name), ensure_ascii=False, indent=2) + "\n" for name in sorted(MESSAGES)
    }


def main() -> None:
    """Write every schema to the folder."""
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files().items():
        (folder / name).write_text(content, encoding="utf-8")


if __name__ == "__main__":
    main()
