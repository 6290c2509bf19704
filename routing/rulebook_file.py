"""Reading a rule book from YAML text. Every complaint names the line, the field and the remedy."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import yaml
from pydantic import ValidationError

from routing.rulebook import RuleBook
from schemas.base import own_errors, violations_of
from schemas.errors import InvalidMessage

_Loader: type[Any] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_UNREADABLE = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
DEPTH_MAX = 32
PARTS_MAX = 200_000
"""Of a file, with what its references repeat: a few lines of them can stand for millions."""
Path = tuple[int | str, ...]


@dataclass(frozen=True, slots=True)
class Complaint:
    """Something wrong in a rule book file; `line` counts from 1."""

    line: int
    field: str
    remedy: str

    def __str__(self) -> str:
        return f"line {self.line}: {self.field}: {self.remedy}"


class InvalidRuleBook(InvalidMessage):
    """The file cannot be activated; `complaints` says why, in file order."""

    code = "rulebook.invalid"

    def __init__(self, complaints: list[Complaint]) -> None:
        self.complaints = sorted(complaints, key=lambda complaint: complaint.line)
        super().__init__("; ".join(str(complaint) for complaint in self.complaints[:20]))


def read_rule_book(text: str) -> RuleBook:
    """The rule book in `text`; InvalidRuleBook with every complaint otherwise."""
    try:
        _check_depth(text)
        root = yaml.compose(text, Loader=_Loader)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise InvalidRuleBook([Complaint(line, "file", f"is not well-formed YAML: {error.problem}")]) from None
    except yaml.YAMLError:
        found = _UNREADABLE.search(text)
        line = text.count("\n", 0, found.start()) + 1 if found else 1
        raise InvalidRuleBook([Complaint(line, "file", "holds a control character: remove it")]) from None
    if not isinstance(root, yaml.MappingNode):
        raise InvalidRuleBook([Complaint(1, "file", "must be a mapping with title, parties, institutions and rules")])
    lines: dict[Path, int] = {}
    complaints: list[Complaint] = []
    content = _plain(root, (), lines, complaints)
    if complaints:
        raise InvalidRuleBook(complaints)
    try:
        return RuleBook.model_validate(content)
    except ValidationError as error:
        details = own_errors(error)
        raise InvalidRuleBook(
            [
                Complaint(_line_of(_place(detail["loc"], violation.field), lines), violation.field, violation.remedy)
                for detail, violation in zip(details, violations_of(error), strict=True)
            ]
        ) from None


def _check_depth(text: str) -> None:
    """Before anything is composed, which takes stack for each level."""
    depth = 0
    for event in yaml.parse(text, Loader=_Loader):
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > DEPTH_MAX:
            raise _too_much(event.start_mark.line + 1 if event.start_mark else 1)


def _too_much(line: int) -> InvalidRuleBook:
    return InvalidRuleBook([Complaint(line, "file", "is nested too deeply or repeats itself too often")])


def _plain(node: yaml.Node, path: Path, lines: dict[Path, int], complaints: list[Complaint]) -> Any:
    lines[path] = node.start_mark.line + 1
    if len(path) > DEPTH_MAX or len(lines) > PARTS_MAX:
        raise _too_much(lines[path])
    if isinstance(node, yaml.MappingNode):
        found: dict[str, Any] = {}
        for key_node, value_node in node.value:
            key = str(key_node.value)
            if key in found:
                complaints.append(Complaint(key_node.start_mark.line + 1, key, "occurs twice; keep one"))
            found[key] = _plain(value_node, (*path, key), lines, complaints)
            lines[(*path, key)] = key_node.start_mark.line + 1
        return found
    if isinstance(node, yaml.SequenceNode):
        return [_plain(item, (*path, index), lines, complaints) for index, item in enumerate(node.value)]
    return _scalar(node) if isinstance(node, yaml.ScalarNode) else None


def _scalar(node: yaml.ScalarNode) -> Any:
    """Text stays text (codes such as 440300 must not become numbers); the models turn it into what they need."""
    if node.tag == "tag:yaml.org,2002:null":
        return None
    if node.tag == "tag:yaml.org,2002:bool":
        return str(node.value).lower() in ("true", "yes", "on")
    return node.value


def _place(location: Path, field: str) -> Path:
    """Where to look for the line: a complaint about a whole part names in `field` what exactly it blames."""
    steps = re.findall(r"[^.\[\]]+", field)
    return (*location, *(int(step) if step.isdigit() else step for step in steps[len(location) :]))


def _line_of(location: Path, lines: dict[Path, int]) -> int:
    for length in range(len(location), -1, -1):
        if (line := lines.get(tuple(location[:length]))) is not None:
            return line
    return 1
