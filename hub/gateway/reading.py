"""Taking a request apart: body, content type, idempotency key, query parameters.

Each says what is wrong and how to mend it, and repeats nothing that it received.
"""

from __future__ import annotations

import asyncio
import re

from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request

from schemas.errors import InvalidMessage, Malformed, Violation
from schemas.strict_json import BODY_MAX_BYTES, too_large

BODY_S_MAX = 15.0
IDEMPOTENCY_KEY = "Idempotency-Key"
_KEY = re.compile(r"[0-9A-Za-z._:-]{1,64}", re.ASCII)
_WHOLE = re.compile(r"[0-9]{1,9}", re.ASCII)


async def read_body(request: Request, bytes_max: int = BODY_MAX_BYTES) -> bytes:
    """The body, at most `bytes_max` (whole MiB): more is refused while it streams in."""
    announced = request.headers.get("content-length", "")
    if announced.isdigit() and int(announced) > bytes_max:
        raise too_large(bytes_max)
    chunks: list[bytes] = []
    size = 0
    try:
        async with asyncio.timeout(BODY_S_MAX):
            async for chunk in request.stream():
                size += len(chunk)
                if size > bytes_max:
                    raise too_large(bytes_max)
                chunks.append(chunk)
    except TimeoutError:
        raise HTTPException(408) from None
    except ClientDisconnect:
        raise HTTPException(400) from None
    return b"".join(chunks)


def check_content_type(request: Request) -> None:
    """Malformed (415) unless the body is plain JSON in UTF-8."""
    media_type, *parameters = (part.strip().lower() for part in request.headers.get("content-type", "").split(";"))
    charsets = [each.partition("=")[2].strip('"') for each in parameters if each.startswith("charset=")]
    encoding = request.headers.get("content-encoding", "identity").lower()
    if media_type != "application/json" or any(charset != "utf-8" for charset in charsets) or encoding != "identity":
        raise Malformed("the content type is not application/json in UTF-8", code="message.content_type")


def idempotency_key(request: Request, *, required: bool) -> str:
    """The sender's id of the message, with or without the quotes of a structured field; empty when it has none."""
    given = request.headers.getlist(IDEMPOTENCY_KEY)
    if not given and not required:
        return ""
    if not given:
        remedy = "send your own id of this message in the header; repeat it unchanged when you send the message again"
        raise _bad_key("it is missing", "header.missing", remedy)
    key = given[0].strip().removeprefix('"').removesuffix('"')
    if len(given) > 1 or not _KEY.fullmatch(key):
        remedy = "send one key of 1 to 64 letters, digits and . _ : -"
        raise _bad_key("it cannot be used", "header.invalid", remedy)
    return key


def _bad_key(message: str, code: str, remedy: str) -> Malformed:
    return Malformed(message, Violation(IDEMPOTENCY_KEY, code, remedy), code="message.idempotency_key")


def whole_number(request: Request, name: str, default: int, lowest: int, highest: int) -> int:
    """A query parameter; InvalidMessage unless it is a whole number between the two."""
    given = request.query_params.get(name)
    if given is None:
        return default
    if not _WHOLE.fullmatch(given) or not lowest <= int(given) <= highest:
        remedy = f"send a whole number from {lowest} to {highest}"
        raise InvalidMessage("", Violation(name, "query.number", remedy), code="query.invalid")
    return int(given)
