"""Files of statements as parties make them."""

from __future__ import annotations

import io
import zipfile


def a_zip(*rows: str, name: str = "detail.txt") -> bytes:
    """The national form: rows of columns with TAB between them."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(name, "".join(f"{row}\n" for row in rows))
    return packed.getvalue()
