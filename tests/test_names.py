"""A class name means one thing, and functions are named by verbs, not by participles or prepositions."""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

from app.config import ROOT

PARTICIPLES = {"told", "shown", "kept", "made", "named", "known", "refused", "asked", "said", "found", "wanted", "seen"}
PARTICIPLES |= {"given", "taken", "called", "drawn", "held", "heard", "written"}
PREPOSITIONS = {"before", "of", "within", "elsewhere", "under", "in", "by", "from", "with", "without", "after"}
VERBS = {"is", "has", "can", "count", "find", "list", "load", "mark"}
HOOKS = {"after_request", "before_request"}
TREES = {path: ast.parse(path.read_text(encoding="utf-8")) for path in sorted(ROOT.glob("app/**/*.py"))}


def _definitions(*kinds: type[ast.AST]) -> Iterator[tuple[Path, str]]:
    for path, tree in TREES.items():
        for node in ast.walk(tree):
            if isinstance(node, kinds):
                yield path.relative_to(ROOT), node.name  # type: ignore[attr-defined]


def is_odd(name: str) -> bool:
    """Whether a name is a participle or preposition, begins with one, or ends in a participle without a verb.

    Flask's own hook names are the field's terms.
    """
    words = name.strip("_").split("_")
    if name in HOOKS:
        return False
    return words[0] in PARTICIPLES | PREPOSITIONS or (words[-1] in PARTICIPLES and words[0] not in VERBS)


def test_a_class_name_means_one_thing() -> None:
    places: dict[str, list[str]] = defaultdict(list)
    for path, name in _definitions(ast.ClassDef):
        places[name].append(str(path))
    assert {name: files for name, files in places.items() if len(files) > 1} == {}


def test_functions_are_named_by_verbs() -> None:
    functions = _definitions(ast.FunctionDef, ast.AsyncFunctionDef)
    assert [f"{path}: {name}" for path, name in functions if is_odd(name)] == []


def test_the_check_knows_an_odd_name() -> None:
    assert all(map(is_odd, ("told", "_shown", "of_user", "told_of_changes", "models_found", "from_json")))
    assert not any(map(is_odd, ("save_listing", "is_known", "load_by_id", "mark_seen", "__init__")))
