"""What the OpenAPI document says of the hub's own books as a file."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hub.recon.writers import MEDIA_TYPES, Form

Json = dict[str, Any]
_HEADERS = {
    "Content-Digest": "`sha-256=:BASE64:` of the file",
    "Statement-Count": "How many lines there are",
    "Statement-Total": "What their amounts come to, in yuan",
}


def own_books(refusals: Callable[..., Json]) -> Json:
    """GET /api/v1/statements/{day}."""
    file: Json = {"schema": {"type": "string", "format": "binary"}}
    return {
        "operationId": "get_statement",
        "summary": "The hub's own books of the speaker's day: a payer's shares, an institution's settlements",
        "parameters": [
            {"name": "day", "in": "path", "required": True, "schema": {"type": "string", "format": "date"}},
            _query("form", {"enum": [form.value for form in Form], "default": Form.CSV.value}),
            _query("scheme", {"type": "string", "default": "daily"}),
            _query("by_payer", {"type": "boolean", "default": False}),
        ],
        "responses": {
            "200": {
                "description": "The file; json holds 5,000 lines, excel 200,000",
                "headers": {
                    name: {"description": text, "schema": {"type": "string"}} for name, text in _HEADERS.items()
                },
                "content": dict.fromkeys(MEDIA_TYPES.values(), file),
            },
            **refusals(401, 403, 404, 422, 503),
        },
    }


def _query(name: str, schema: Json) -> Json:
    return {"name": name, "in": "query", "required": False, "schema": schema}
