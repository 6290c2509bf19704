"""The C library behind SM2 writes a line to the C stream `stderr` for each signature that does not hold.

Those lines say nothing that our refusal does not, and a stranger could fill a log with them.
"""

from __future__ import annotations

import ctypes
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

_lock = threading.Lock()


@contextmanager
def c_stderr_muted() -> Iterator[None]:
    """Point the C stream elsewhere meanwhile. File descriptor 2, to which Python itself writes, stays as it is."""
    streams = _streams()
    if streams is None:
        yield
        return
    stderr, nowhere = streams
    with _lock:
        before = stderr.value
        stderr.value = nowhere
        try:
            yield
        finally:
            stderr.value = before


@cache
def _streams() -> tuple[ctypes.c_void_p, int] | None:
    """The variable and a stream to nowhere; None where the C library's `stderr` is no variable (only glibc's is)."""
    try:
        os.confstr("CS_GNU_LIBC_VERSION")
        libc = ctypes.CDLL(None)
        libc.fopen.restype = ctypes.c_void_p
        nowhere = libc.fopen(os.devnull.encode(), b"w")
        return (ctypes.c_void_p.in_dll(libc, "stderr"), nowhere) if nowhere else None
    except (OSError, ValueError, AttributeError):
        return None
