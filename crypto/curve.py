"""The SM2 curve (GB/T 32918.5) as far as we compute on it ourselves: keys, once each. Signing is done in C."""

from __future__ import annotations

from crypto.errors import KeyUnusable

P = 0xFFFFFFFEFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF00000000FFFFFFFFFFFFFFFF
A = 0xFFFFFFFEFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF00000000FFFFFFFFFFFFFFFC
B = 0x28E9FA9E9D9F5E344D5A9E4BCF6509A7F39789F515AB8F92DDBCBD414D940E93
N = 0xFFFFFFFEFFFFFFFFFFFFFFFFFFFFFFFF7203DF6B21C6052B53BBF40939D54123
G = (
    0x32C4AE2C1F1981195F9904466A39C9948FE30BBFF2660BE1715A4589334C74C7,
    0xBC3736A2F4F6779C59BDCEE36B692153D0A9877CC62A474002DF32E52139F0A0,
)
Point = tuple[int, int]


def public_point(private: int) -> Point:
    """The point of a private number (1 to n-2); KeyUnusable otherwise."""
    if not 1 <= private <= N - 2:
        raise KeyUnusable("the private key is out of range")
    # A ladder: one addition and one doubling per bit, whatever the bit is.
    low: Point | None = None
    high: Point | None = G
    for bit in range(255, -1, -1):
        if private >> bit & 1:
            low, high = _add(low, high), _add(high, high)
        else:
            low, high = _add(low, low), _add(low, high)
    assert low is not None
    return low


def point_of(encoded: bytes) -> Point:
    """A point from x||y, 04||x||y or 02/03||x; KeyUnusable when it is none on the curve."""
    if len(encoded) == 65 and encoded[0] == 4:
        encoded = encoded[1:]
    if len(encoded) == 33 and encoded[0] in (2, 3):
        return _decompressed(int.from_bytes(encoded[1:]), odd=encoded[0] == 3)
    if len(encoded) != 64:
        raise KeyUnusable("a public key has 64 bytes, or 65 beginning with 04, or 33 beginning with 02 or 03")
    point = int.from_bytes(encoded[:32]), int.from_bytes(encoded[32:])
    if not _on_curve(point):
        raise KeyUnusable("the public key is no point of the curve")
    return point


def _decompressed(x: int, *, odd: bool) -> Point:
    y = pow(x * x * x + A * x + B, (P + 1) // 4, P)
    point = (x, P - y if (y % 2 == 1) is not odd else y)
    if not _on_curve(point):
        raise KeyUnusable("the public key is no point of the curve")
    return point


def _on_curve(point: Point) -> bool:
    x, y = point
    return 0 <= x < P and 0 <= y < P and (y * y - (x * x * x + A * x + B)) % P == 0


def _add(one: Point | None, other: Point | None) -> Point | None:
    if one is None or other is None:
        return one or other
    (x1, y1), (x2, y2) = one, other
    if x1 == x2:
        if (y1 + y2) % P == 0:
            return None
        slope = (3 * x1 * x1 + A) * pow(2 * y1, -1, P) % P
    else:
        slope = (y2 - y1) * pow(x2 - x1, -1, P) % P
    x = (slope * slope - x1 - x2) % P
    return x, (slope * (x1 - x) - y1) % P
