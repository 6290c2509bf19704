"""Just enough DER for SM2: a sequence of integers and octet strings, in its one shortest form."""

from __future__ import annotations

INTEGER = 0x02
OCTETS = 0x04
SEQUENCE = 0x30


def encoded_integer(number: int) -> bytes:
    """A non-negative INTEGER."""
    return _tagged(INTEGER, number.to_bytes(number.bit_length() // 8 + 1))


def encoded_octets(octets: bytes) -> bytes:
    """An OCTET STRING."""
    return _tagged(OCTETS, octets)


def encoded_sequence(*parts: bytes) -> bytes:
    """A SEQUENCE of what is encoded already."""
    return _tagged(SEQUENCE, b"".join(parts))


def parts_of(encoded: bytes) -> list[int | bytes]:
    """The integers and octet strings of one SEQUENCE; ValueError for anything else and for any longer form."""
    body, rest = _taken(encoded, SEQUENCE)
    if rest:
        raise ValueError("bytes after the sequence")
    parts: list[int | bytes] = []
    while body:
        tag = body[0]
        if tag not in (INTEGER, OCTETS):
            raise ValueError("neither an integer nor an octet string")
        value, body = _taken(body, tag)
        parts.append(_integer(value) if tag == INTEGER else value)
    return parts


def _integer(value: bytes) -> int:
    number = int.from_bytes(value, signed=True)
    if number < 0 or value != number.to_bytes(number.bit_length() // 8 + 1):
        raise ValueError("negative, or not in its shortest form")
    return number


def _tagged(tag: int, value: bytes) -> bytes:
    return bytes([tag]) + _length(len(value)) + value


def _length(size: int) -> bytes:
    if size < 0x80:
        return bytes([size])
    octets = size.to_bytes((size.bit_length() + 7) // 8)
    return bytes([0x80 | len(octets)]) + octets


def _taken(encoded: bytes, tag: int) -> tuple[bytes, bytes]:
    if len(encoded) < 2 or encoded[0] != tag:
        raise ValueError("not the expected element")
    width = encoded[1] & 0x7F if encoded[1] & 0x80 else 0
    if width > 2:
        raise ValueError("too long")
    start = 2 + width
    size = int.from_bytes(encoded[2:start]) if width else encoded[1]
    if encoded[1:start] != _length(size) or len(encoded) < start + size:
        raise ValueError("a wrong length")
    return encoded[start : start + size], encoded[start + size :]
