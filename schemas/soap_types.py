"""The canonical models as element types of the SOAP service: what its XSD is written from and messages are read by."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal

from pydantic import TypeAdapter
from pydantic.json_schema import models_json_schema

from schemas.base import Code, Identifier, InstitutionCode, ItemName, Name, PartyCode, RegionCode, Text, Value
from schemas.master import IdNumber
from schemas.money import Money, Price, Quantity, SignedMoney, SignedQuantity
from schemas.soap import OPERATIONS, HubFault
from schemas.transactions import SPECS

Base = Literal["string", "decimal", "boolean", "int", "date", "dateTime"]
Facets = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class TextType:
    """What an element without children holds. Without a `name` and without facets it is the base type itself."""

    base: Base
    name: str = ""
    facets: Facets = ()
    about: str = ""


@dataclass(frozen=True, slots=True)
class Element:
    """A child element, occurring `least` to `most` times, without end when `most` is None."""

    name: str
    type: TextType | RecordType
    least: int
    most: int | None

    @property
    def repeats(self) -> bool:
        """Whether its values are a list."""
        return self.most != 1


@dataclass(frozen=True, slots=True)
class RecordType:
    """What an element with children holds, in this order."""

    name: str
    elements: tuple[Element, ...]
    about: str = ""


_DECIMALS = {
    "Money": Money,
    "SignedMoney": SignedMoney,
    "Price": Price,
    "Quantity": Quantity,
    "SignedQuantity": SignedQuantity,
}
_TEXTS = {
    "Identifier": Identifier,
    "Code": Code,
    "Name": Name,
    "ItemName": ItemName,
    "Text": Text,
    "IdNumber": IdNumber,
    "InstitutionCode": InstitutionCode,
    "RegionCode": RegionCode,
    "PartyCode": PartyCode,
}
_DAY = TextType("date", "Day", (("pattern", "[0-9]{4}-[0-9]{2}-[0-9]{2}"),), "A day, without a time zone.")
_MOMENT = TextType(
    "dateTime",
    "Moment",
    (("pattern", r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:]{8}(\.[0-9]{1,9})?(Z|[+\-][0-9]{2}:[0-9]{2})"),),
    "A moment with its time zone, such as 2026-03-02T09:15:00+08:00.",
)
_ABOUT = {
    "Money": "Yuan with at most two decimals.",
    "SignedMoney": "Yuan with at most two decimals and maybe a minus.",
}
_FACETS = {
    "minLength": "minLength",
    "maxLength": "maxLength",
    "minimum": "minInclusive",
    "maximum": "maxInclusive",
}


@cache
def service_types() -> Mapping[str, RecordType]:
    """Every record type of the service by name: messages, answers, the fault, and what they consist of."""
    carried = [SPECS[transaction] for transaction in OPERATIONS]
    return record_types(
        [*(spec.message for spec in carried), *(spec.answer for spec in carried if spec.answer), HubFault]
    )


def record_types(models: Iterable[type[Value]]) -> Mapping[str, RecordType]:
    """The record types of these models and of all inside them. TypeError for a field that no element can hold."""
    once: dict[type[Value], None] = dict.fromkeys(models)
    _, schema = models_json_schema([(model, "validation") for model in once])
    return _Reader(schema["$defs"]).records()


class _Reader:
    """Turns the definitions of a JSON Schema into types; each definition becomes one."""

    def __init__(self, definitions: Mapping[str, Any]) -> None:
        self._definitions = definitions
        self._done: dict[str, TextType | RecordType] = {}

    def records(self) -> Mapping[str, RecordType]:
        found = {name: self._defined(name) for name in sorted(self._definitions)}
        return {name: each for name, each in found.items() if isinstance(each, RecordType)}

    def _defined(self, name: str) -> TextType | RecordType:
        if not name.isidentifier():
            raise TypeError(f"{name}: two models share one name")
        if name not in self._done:
            self._done[name] = self._new(name, self._definitions[name])
        return self._done[name]

    def _new(self, name: str, schema: Mapping[str, Any]) -> TextType | RecordType:
        about = _plain(schema.get("description", ""))
        if schema["type"] != "object":
            return TextType("string", name, _facets_of(schema), about)
        if "additionalProperties" in schema and schema["additionalProperties"] is not False:
            raise TypeError(f"{name}: an open object has no element type")
        required = frozenset(schema.get("required", ()))
        elements = [self._element(field, each, field in required) for field, each in schema["properties"].items()]
        return RecordType(name, tuple(elements), about)

    def _element(self, name: str, schema: Mapping[str, Any], required: bool) -> Element:
        choices = [each for each in schema.get("anyOf", [schema]) if each.get("type") != "null"]
        if len(choices) != 1:
            raise TypeError(f"{name}: a choice of types has no element type")
        (only,) = choices
        if only.get("type") == "array":
            least = only.get("minItems", 0) if required else 0
            return Element(name, self._type(only["items"]), least, only.get("maxItems"))
        return Element(name, self._type(only), 1 if required else 0, 1)

    def _type(self, schema: Mapping[str, Any]) -> TextType | RecordType:
        if "$ref" in schema:
            return self._defined(schema["$ref"].rpartition("/")[2])
        return _text_type(schema)


def _text_type(schema: Mapping[str, Any]) -> TextType:
    kind, form = schema.get("type"), schema.get("format")
    if kind == "boolean":
        return TextType("boolean")
    if kind == "integer":
        return TextType("int", facets=_facets_of(schema))
    if kind != "string" or form not in (None, "date", "date-time"):
        raise TypeError(f"{kind} {form}: no element type for it")
    if form is not None:
        return _DAY if form == "date" else _MOMENT
    return _known_texts().get(_key(schema)) or TextType("string", facets=_facets_of(schema))


def _facets_of(schema: Mapping[str, Any]) -> Facets:
    allowed = schema.get("enum", [schema["const"]] if "const" in schema else [])
    facets = [("enumeration", str(each)) for each in allowed]
    if "pattern" in schema:
        facets.append(("pattern", _xsd_pattern(schema["pattern"])))
    return (*facets, *((facet, str(schema[key])) for key, facet in _FACETS.items() if key in schema))


def _xsd_pattern(pattern: str) -> str:
    """XSD patterns match the whole text, know no anchors, and want a hyphen in a class escaped."""
    return pattern.removeprefix("^").removesuffix("$").replace("-]", r"\-]")


@cache
def _known_texts() -> Mapping[str, TextType]:
    known: dict[str, TextType] = {}
    bases: tuple[tuple[Base, Mapping[str, Any]], ...] = (("decimal", _DECIMALS), ("string", _TEXTS))
    for base, aliases in bases:
        for name, alias in aliases.items():
            schema = TypeAdapter(alias).json_schema()
            known[_key(schema)] = TextType(base, name, _facets_of(schema), _ABOUT.get(name, ""))
    return known


def _key(schema: Mapping[str, Any]) -> str:
    """What makes two texts the same, whatever field they stand in."""
    aside = ("title", "description", "examples", "default")
    return json.dumps({key: value for key, value in schema.items() if key not in aside}, sort_keys=True)


def _plain(docstring: str) -> str:
    return " ".join(docstring.replace("`", "").split())
