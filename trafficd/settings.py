"""YAML to frozen settings: every mistake at once, each with its place in the file.

A settings noun is a frozen ``msgspec.Struct``. Its leaves are plain types that msgspec converts, or
types with a ``parse`` class method of their own; what several keys owe each other is checked in
``__post_init__`` by raising ``ValueError`` with one argument a mistake, each begun by its key.
"""

import difflib
from enum import Enum
from pathlib import Path
from types import UnionType
from typing import Any, NoReturn, TypeVar, get_args, get_origin, get_type_hints

import msgspec
import yaml

from trafficd.errors import ConfigError

Settings = TypeVar("Settings", bound=msgspec.Struct)

_DEEPEST = 20

_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def read_settings(path: Path, kind: type[Settings]) -> Settings:
    """Return the file at *path* as a *kind*.

    Raises: ConfigError with a line for every mistake.
    """
    return parse_settings(read_text(path), kind, source=str(path))


def read_text(path: Path) -> str:
    """Return what stands in the file at *path*.

    Raises: ConfigError if it cannot be read.
    """
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError([f"{path}: cannot be read: {error.strerror}"]) from error
    except UnicodeDecodeError as error:
        raise ConfigError([f"{path}: not UTF-8 at byte {error.start}"]) from error


def parse_settings(text: str, kind: type[Settings], *, source: str) -> Settings:
    """Return *text* as a *kind*; an empty text is every default.

    Raises: ConfigError with a line for every mistake, ``source:line: key: value: what to do``.
    """
    try:
        _refuse_depth(text, source)
        loader = _LOADER(text)
        root = loader.get_single_node()
    except yaml.YAMLError as error:
        raise ConfigError([f"{source}:{_yaml_problem(error)}"]) from error
    reading = _Reading(loader, source)
    if root is None or _is_null(root):
        root = yaml.MappingNode("tag:yaml.org,2002:map", [])
    settings = reading.struct(root, kind, "")
    if reading.mistakes or not isinstance(settings, kind):
        raise ConfigError(reading.mistakes)
    return settings


def _refuse_depth(text: str, source: str) -> None:
    """Refuse what is nested so deep that composing it would exhaust the stack."""
    depth = 0
    for event in yaml.parse(text, Loader=_LOADER):
        depth += isinstance(event, yaml.CollectionStartEvent)
        depth -= isinstance(event, yaml.CollectionEndEvent)
        if depth > _DEEPEST:
            line = _line(event)
            raise ConfigError([f"{source}:{line}: nested more than {_DEEPEST} deep"])


class _Reading:
    """One pass over the nodes of one file; collects mistakes instead of stopping at the first."""

    def __init__(self, loader: Any, source: str) -> None:
        self._loader = loader
        self._source = source
        self._lines: dict[str, int] = {}
        self.mistakes: list[str] = []

    def struct(self, node: yaml.Node, kind: type[msgspec.Struct], place: str) -> object:
        if not isinstance(node, yaml.MappingNode):
            return self._mistake(node, place, "expected keys and values, like `key: value`")
        hints = get_type_hints(kind)
        names = {field.encode_name: field.name for field in msgspec.structs.fields(kind)}
        found: dict[str, object] = {}
        count_before = len(self.mistakes)
        for key_node, value_node in node.value:
            if not isinstance(key_node, yaml.ScalarNode):
                self._mistake(key_node, place, "a key is a word, not a list or a mapping")
                continue
            key = str(key_node.value)
            inner = f"{place}.{key}" if place else key
            if key not in names:
                self._mistake(key_node, inner, f"unknown key{_did_you_mean(key, names)}")
            elif names[key] in found:
                self._mistake(key_node, inner, "stands here twice; keep one")
            else:
                count = len(self.mistakes)
                value = self._value(value_node, hints[names[key]], inner)
                # What has a mistake stands at its default for the checks between keys below.
                if len(self.mistakes) == count:
                    found[names[key]] = value
        has_mistakes = len(self.mistakes) > count_before
        # In a part of the file they would only follow from the mistakes that are told already.
        if has_mistakes and place:
            return None
        try:
            return kind(**found)
        except TypeError:
            if has_mistakes:
                return None
            needed = ", ".join(
                field.encode_name
                for field in msgspec.structs.fields(kind)
                if field.required and field.name not in found
            )
            return self._mistake(node, place, f"needs {needed}")
        except ValueError as error:
            for problem in error.args:
                self._owed(node, place, str(problem))
            return None

    def _owed(self, node: yaml.Node, place: str, problem: str) -> None:
        """Note what several keys owe each other, at the key that the problem begins with."""
        key, _, rest = problem.partition(": ")
        inner = f"{place}.{key}" if place else key
        if inner in self._lines:
            self.mistakes.append(f"{self._source}:{self._lines[inner]}: {inner}: {rest}")
        else:
            self._mistake(node, place, problem)

    def _value(self, node: yaml.Node, kind: Any, place: str) -> object:
        self._lines[place] = _line(node)
        if isinstance(kind, UnionType) or get_origin(kind) is UnionType:
            if _is_null(node):
                return None
            (kind,) = (each for each in get_args(kind) if each is not type(None))
        if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
            return self.struct(node, kind, place)
        if get_origin(kind) is tuple:
            if not isinstance(node, yaml.SequenceNode):
                return self._mistake(node, place, "expected a list, like `[...]`")
            item = get_args(kind)[0]
            return tuple(
                self._value(each, item, f"{place}[{number}]")
                for number, each in enumerate(node.value)
            )
        return self._leaf(node, kind, place)

    def _leaf(self, node: yaml.Node, kind: Any, place: str) -> object:
        if isinstance(node, yaml.MappingNode):
            keys = [key.value for key, _ in node.value]
            for key_node, _ in node.value:
                if keys.count(key_node.value) > 1:
                    return self._mistake(
                        key_node, f"{place}.{key_node.value}", "stands here twice; keep one"
                    )
        try:
            value = self._loader.construct_object(node, deep=True)
            return msgspec.convert(value, kind, dec_hook=_parse_own_type)
        except yaml.YAMLError as error:
            return self._mistake(node, place, _yaml_problem(error))
        except (LookupError, AttributeError) as error:
            # What PyYAML raises where a value does not fit the tag that stands before it.
            return self._mistake(node, place, f"not a {node.tag.rpartition(':')[2]}: {error}")
        except (msgspec.ValidationError, ValueError, TypeError) as error:
            shown = node.value if isinstance(node, yaml.ScalarNode) else "this"
            is_choice = isinstance(kind, type) and issubclass(kind, Enum)
            mend = f"write one of {', '.join(kind)}" if is_choice else _plain(error)
            return self._mistake(node, place, f"{shown}: {mend}")

    def _mistake(self, node: yaml.Node, place: str, problem: str) -> object:
        """Note *problem*; the result stands where the value would have stood, and is not used."""
        where = f"{place}: " if place else ""
        self.mistakes.append(f"{self._source}:{_line(node)}: {where}{problem}")
        return None


def _line(node: yaml.Node | yaml.Event) -> int:
    return node.start_mark.line + 1 if node.start_mark else 1


def _parse_own_type(kind: Any, value: object) -> object:
    if not hasattr(kind, "parse"):
        _unknown_type(kind)
    return kind.parse(value)


def _unknown_type(kind: object) -> NoReturn:
    raise TypeError(f"no way to read a {kind} from a file")


def _is_null(node: yaml.Node) -> bool:
    return bool(node.tag == "tag:yaml.org,2002:null")


def _did_you_mean(key: str, known: Any) -> str:
    close = difflib.get_close_matches(key, list(known), n=1)
    return f"; did you mean {close[0]}?" if close else f"; known here: {', '.join(sorted(known))}"


def _yaml_problem(error: yaml.YAMLError) -> str:
    mark = getattr(error, "problem_mark", None)
    problem = getattr(error, "problem", None) or "not YAML"
    return f"{mark.line + 1}: {problem}" if mark else f"1: {problem}"


def _plain(error: Exception) -> str:
    """Return a conversion error in the file's own words instead of Python's."""
    text = str(error)
    for python, word in (
        ("`str`", "text"),
        ("`int`", "a whole number"),
        ("`float`", "a number"),
        ("`bool`", "true or false"),
        ("`null`", "nothing"),
    ):
        text = text.replace(python, word)
    return text[:1].lower() + text[1:]
