"""Damage to good messages, by chance but repeatable: the same seed does the same to the same bytes.

What stands inside of a message (XML or JSON as text, base64 of either) is damaged too.
"""

from __future__ import annotations

import base64
import binascii
import copy
import io
import json
import random
import zipfile
from typing import Any

from lxml import etree

CANARY = "CANARY7391"
"""A value that no refusal may repeat."""
TEXTS = (
    "", " ", "0", "1", "-1", "-0", "0.00", "0.001", "1E5", "1e-999999", "1E9999999", "0E9999999", "+5", ".5", "1_000",
    "３００", "NaN", "Infinity", "99999999999.99", "100000000000", "9" * 400, "9" * 5_000, "true", "null", "=1+1",
    "2026-02-30", "2026-03-02", "9999-12-31T23:59:59+23:59", "0001-01-01T00:00:00-23:59",
    "0001-01-01 00:00:00", "9999-12-31 23:59:59", "00010101000000", "20261332000000", "%00",
    "' or '1'='1", "{}", "[", "<a/>", "</a>", "&lt;a/&gt;", "]]>", "a\nb: c", "a|b,c\t", "\u200b", "\u202e", "𠮷",
    "x" * 3_000, CANARY, f"{CANARY} {CANARY}", "application/json", "approved", "S-1", "../../etc/passwd",
)  # fmt: skip
TOKENS = (
    "null", "true", "false", "0", "-0", "-1", "1", "1.5", "0.005", "300.00", "1e5", "1E400", "1.0e-999999",
    "1.0e-99999999999", "0.0e9999", "1.0e308", "NaN", "Infinity", "9007199254740993", "18446744073709551616",
    "9" * 400, "9" * 5_000, '"\\ud800"', '"\\u0000"', '"a\\u200bb"', "[]", "{}", "[[]]", '[{"":null}]', "1 2", "",
)  # fmt: skip
ENCODINGS = ("utf-16", "utf-8-sig", "gb18030", "utf-7", "utf-32-le")
DOCTYPE = b"<!DOCTYPE a [<!ENTITY b 'c'><!ENTITY d SYSTEM 'file:///etc/passwd'>]>"
_DEEP_INSIDE = 0.6
_LAYERS_MAX = 3


class Pairs(list[Any]):
    """A JSON object as its members in order, so that a name may come twice."""


class Token(str):
    """Bytes of JSON as they are to be written."""

    __slots__ = ()


class Vandal:
    """Does one to three damages to a message."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)

    def damaged(self, raw: bytes) -> bytes:
        """The message with its structure, its bytes or its encoding spoiled."""
        kind = self.chance.random()
        if kind < 0.7:
            raw = self._structure(raw, _LAYERS_MAX)
        if kind > 0.6:
            raw = self._bytes(raw)
        if kind > 0.97:
            raw = raw.decode("utf-8", "replace").encode(self.chance.choice(ENCODINGS))
        return raw

    def file(self, raw: bytes) -> bytes:
        """A table or an archive of tables with its text, its bytes or its members spoiled."""
        if not raw.startswith(b"PK") or self.chance.random() < 0.3:
            return self._bytes(raw) if self.chance.random() < 0.5 else self._cells(raw)
        packed = io.BytesIO()
        with zipfile.ZipFile(io.BytesIO(raw)) as good, zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as spoiled:
            chosen = self.chance.choice(good.namelist())
            for name in good.namelist():
                content = good.read(name)
                if name == chosen:
                    content = self._structure(content, 1) if content[:1] == b"<" else self._cells(content)
                spoiled.writestr(name, content)
        return packed.getvalue()

    def _cells(self, raw: bytes) -> bytes:
        """Lines of cells with one of them replaced, lost or moved."""
        separator = b"\t" if b"\t" in raw else b","
        rows = [line.split(separator) for line in raw.split(b"\n")]
        row = self.chance.choice(rows)
        at = self.chance.randrange(len(row))
        row[at : at + self.chance.randrange(3)] = [self.chance.choice((*TEXTS, '"', "total")).encode()]
        if self.chance.random() < 0.3:
            rows.insert(self.chance.randrange(len(rows) + 1), [b"total", self.chance.choice(TEXTS).encode()])
        return b"\n".join(separator.join(cells) for cells in rows)

    def value(self) -> Any:
        """What nobody expects in the place of a value."""
        return Token(self.chance.choice(TOKENS)) if self.chance.random() < 0.4 else self.chance.choice(TEXTS)

    def _bytes(self, raw: bytes) -> bytes:
        spoiled = bytearray(raw)
        for _ in range(self.chance.randint(1, 3)):
            place = self.chance.randrange(len(spoiled) + 1)
            length = self.chance.choice((0, 1, 1, 2, 8, 64))
            match self.chance.randrange(5):
                case 0:
                    spoiled[place : place + length] = self.chance.randbytes(length)
                case 1:
                    del spoiled[place : place + length]
                case 2:
                    spoiled[place:place] = spoiled[place : place + 40] * length
                case 3:
                    spoiled[place:place] = self.chance.choice((b"\x00", b"<!--x-->", b'"', b"[" * 40, b"<", b"&x;"))
                case _:
                    del spoiled[place:]
        return bytes(spoiled)

    def _structure(self, raw: bytes, layers: int) -> bytes:
        begins = raw.lstrip()[:1]
        if begins in (b"{", b"["):
            return self._json(raw, layers)
        return self._xml(raw, layers) if begins == b"<" else self._bytes(raw)

    def _text(self, text: str, layers: int) -> str:
        """Another text; where this one holds a message, that message damaged."""
        if layers and self.chance.random() < 0.9:
            if text.lstrip()[:1] in ("{", "[", "<"):
                return self._structure(text.encode(), layers - 1).decode("utf-8", "replace")
            if inner := _unwrapped(text):
                return base64.b64encode(self._structure(inner, layers - 1)).decode()
        return self.chance.choice(TEXTS)

    # JSON

    def _json(self, raw: bytes, layers: int) -> bytes:
        try:
            tree = json.loads(raw, object_pairs_hook=Pairs, parse_float=Token, parse_int=Token)
        except (ValueError, RecursionError):
            return self._bytes(raw)
        for _ in range(self.chance.randint(1, 3)):
            places = _places(tree)
            if not places:
                break
            deep = [place for place in places if _holds_message(_at(place))]
            chosen = deep if deep and layers and self.chance.random() < _DEEP_INSIDE else places
            self._spoil(self.chance.choice(chosen), places, layers)
        return _written(tree).encode("utf-8", "replace")

    def _spoil(self, place: tuple[Any, int], places: list[tuple[Any, int]], layers: int) -> None:
        inside, at = place
        value = _at(place)
        match self.chance.randrange(9):
            case 0:
                del inside[at]
            case 1:
                inside.insert(self.chance.randrange(len(inside) + 1), inside[at])
            case 2:
                other = self.chance.choice(places)
                _put(place, _at(other))
            case 3:
                _put(place, _nested(value, self.chance.choice((1, 2, 40))))
            case 4:
                _put(place, [value, value])
            case 5 if isinstance(inside, Pairs):
                inside[at] = (self.chance.choice((*(name for name, _ in inside), "x", "")), value)
            case 6 | 7 if isinstance(value, str) and not isinstance(value, Token):
                _put(place, self._text(value, layers))
            case _:
                _put(place, self.value())

    # XML

    def _xml(self, raw: bytes, layers: int) -> bytes:
        try:
            root = etree.fromstring(raw, etree.XMLParser(resolve_entities=False, no_network=True))
        except etree.XMLSyntaxError:
            return self._bytes(raw)
        for _ in range(self.chance.randint(1, 3)):
            elements = [one for one in root.iter() if isinstance(one.tag, str)]
            deep = [one for one in elements if _holds_message(one.text)]
            chosen = deep if deep and layers and self.chance.random() < _DEEP_INSIDE else elements
            self._spoil_element(self.chance.choice(chosen), elements, layers)
        spoiled = etree.tostring(root)
        return DOCTYPE + spoiled if self.chance.random() < 0.03 else spoiled

    def _spoil_element(self, element: etree._Element, elements: list[etree._Element], layers: int) -> None:
        parent = element.getparent()
        match self.chance.randrange(10):
            case 0 if parent is not None:
                parent.remove(element)
            case 1 if parent is not None:
                parent.insert(self.chance.randrange(len(parent) + 1), copy.deepcopy(element))
            case 2:
                element.append(copy.deepcopy(self.chance.choice(elements)))
            case 3:
                element.tag = self.chance.choice(("x", "{urn:x}y", str(self.chance.choice(elements).tag)))
            case 4:
                element.set(self.chance.choice(("x", "type", "{urn:x}id", "nil")), _for_xml(self.chance.choice(TEXTS)))
            case 5:
                element.append(etree.Comment("x") if self.chance.random() < 0.5 else etree.PI("x"))
            case 6:
                for _ in range(self.chance.choice((1, 2, 300))):
                    element = etree.SubElement(element, "x")
            case _:
                element.text = _for_xml(self._text(element.text or "", layers))


def _for_xml(text: str) -> str:
    return "".join(letter for letter in text if letter >= " " or letter in "\t\n")


def _holds_message(value: Any) -> bool:
    return isinstance(value, str) and (value.lstrip()[:1] in ("{", "[", "<") or bool(_unwrapped(value)))


def _unwrapped(text: str) -> bytes:
    """What is in a text that is base64 of a message; nothing for any other."""
    if len(text) < 16 or len(text) % 4:
        return b""
    try:
        inner = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return b""
    return inner if inner.lstrip()[:1] in (b"{", b"[", b"<") else b""


def _places(tree: Any) -> list[tuple[Any, int]]:
    """Where a value stands: its list or object, and the place in it."""
    found: list[tuple[Any, int]] = []
    waiting = [tree]
    while waiting:
        inside = waiting.pop()
        for at in range(len(inside)):
            found.append((inside, at))
            value = _at((inside, at))
            if isinstance(value, list):
                waiting.append(value)
    return found


def _at(place: tuple[Any, int]) -> Any:
    inside, at = place
    return inside[at][1] if isinstance(inside, Pairs) else inside[at]


def _put(place: tuple[Any, int], value: Any) -> None:
    inside, at = place
    # Written now: a value that holds the place where it is put would have no end.
    fixed = Token(_written(value)) if isinstance(value, list) else value
    inside[at] = (inside[at][0], fixed) if isinstance(inside, Pairs) else fixed


def _nested(value: Any, depth: int) -> Any:
    for _ in range(depth):
        value = [value] if depth > 2 else Pairs([("x", value)])
    return value


def _written(tree: Any) -> str:
    if isinstance(tree, Pairs):
        return "{" + ",".join(f"{json.dumps(name)}:{_written(value)}" for name, value in tree) + "}"
    if isinstance(tree, list):
        return "[" + ",".join(_written(value) for value in tree) + "]"
    return str(tree) if isinstance(tree, Token) else json.dumps(tree, ensure_ascii=False)
