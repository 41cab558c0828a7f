"""Whether HTML conforms: html5lib's parse errors, and the rules of the standard that no parser knows."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator
from itertools import pairwise
from xml.etree.ElementTree import Element

import html5lib
from html5lib.constants import E as PARSE_ERRORS

_HEADINGS = ("h1", "h2", "h3", "h4", "h5", "h6")
_FLOW_ONLY = set(_HEADINGS) | set(
    re.findall(
        r"\w+",
        "address article aside blockquote details dialog dl div fieldset figure footer form header hr li main nav "
        "ol p search section table tbody td th tr ul",
    )
)
"""What may not stand where the standard allows phrasing content only."""
_PHRASING_ONLY = set(_HEADINGS) | set(
    re.findall(
        r"\w+", "abbr b button cite code em i kbd label mark output p pre progress small span strong sub sup time"
    )
)
_INTERACTIVE = frozenset(("button", "details", "iframe", "label", "select", "textarea", "summary"))
_CHILDREN = {
    "ul": {"li"},
    "ol": {"li"},
    "dl": {"dt", "dd", "div"},
    "table": {"caption", "colgroup", "thead", "tbody", "tfoot", "tr"},
    "thead": {"tr"},
    "tbody": {"tr"},
    "tr": {"th", "td"},
    "select": {"option", "optgroup", "hr"},
    "datalist": {"option"},
}
_FIRST_OF = {"summary": "details", "legend": "fieldset"}
_SAYING = {"button", "summary", "a", "legend", "title", *_HEADINGS}
_REFERENCES = ("aria-labelledby", "aria-describedby", "aria-controls", "for", "form", "list", "headers")
_MOMENT = re.compile(r"\d{4}-\d\d-\d\d([T ]\d\d:\d\d(:\d\d(\.\d{1,3})?)?(Z|[+-]\d\d:\d\d)?)?")


def find_errors(html: str, *, container: str = "") -> list[str]:
    """What is wrong with a document, or with a piece that stands in a `container`; nothing if it conforms."""
    parser = html5lib.HTMLParser(namespaceHTMLElements=False)
    root = parser.parseFragment(html, container) if container else parser.parse(html)
    errors = [_parse_error(html, *error) for error in parser.errors]
    parents = {child: parent for parent in root.iter() for child in parent}
    elements = [element for element in root.iter() if isinstance(element.tag, str)]
    for element in elements:
        errors += _nesting(element, parents)
        errors += _attributes(element)
    errors += _names(elements, parents)
    errors += _ids(elements, is_whole=not container)
    if not container:
        errors += _outline(elements)
        errors += _document(root, elements)
    return errors


def _parse_error(html: str, position: tuple[int, int], code: str, facts: dict[str, str]) -> str:
    line, column = position
    text = html.splitlines()[line - 1] if html else ""
    return f"{PARSE_ERRORS.get(code, code) % facts} Before: {text[max(0, column - 90) : column]!r}"


def _ancestors(element: Element, parents: dict[Element, Element]) -> Iterator[Element]:
    while element in parents:
        element = parents[element]
        yield element


def _is_interactive(element: Element) -> bool:
    if element.tag == "a":
        return "href" in element.attrib
    if element.tag == "input":
        return element.get("type") != "hidden"
    return element.tag in _INTERACTIVE


def _nesting(element: Element, parents: dict[Element, Element]) -> Iterator[str]:
    ancestors = list(_ancestors(element, parents))
    parent = str(ancestors[0].tag) if ancestors else ""
    if element.tag in _FLOW_ONLY:
        yield from (
            f"<{element.tag}> may not stand in {_describe(one)}" for one in ancestors if one.tag in _PHRASING_ONLY
        )
    if element.tag not in _CHILDREN.get(parent, {element.tag}):
        yield f"<{element.tag}> may not be a child of {_describe(ancestors[0])}"
    if _is_interactive(element) and element.tag != "summary":
        around = [
            one for one in ancestors if _is_interactive(one) and one.tag != "details" and not _labels(one, element)
        ]
        yield from (f"{_describe(element)} may not stand in the interactive {_describe(one)}" for one in around)
    if element.tag == "form" and any(one.tag == "form" for one in ancestors):
        yield f"{_describe(element)} stands in another form"
    if element.tag in _FIRST_OF and (parent != _FIRST_OF[element.tag] or ancestors[0][0] is not element):
        yield f"{_describe(element)} is not the first child of a <{_FIRST_OF[element.tag]}>"


def _labels(outer: Element, element: Element) -> bool:
    return outer.tag == "label" and element.tag in ("input", "select", "textarea", "button")


def _attributes(element: Element) -> Iterator[str]:
    rule = _RULES.get(str(element.tag))
    if rule and (complaint := rule(element)):
        yield f"{_describe(element)} {complaint}"
    if any(name.startswith("on") or name == "style" for name in element.attrib):
        yield f"{_describe(element)} has a style or a script of its own, which the policy forbids"


def _form(form: Element) -> str:
    if not form.get("action"):
        return "leads nowhere"
    carries = "csrf_token" in {field.get("name") for field in form.iter("input")}
    return "carries no CSRF token" if form.get("method") == "post" and not carries else ""


_RULES: dict[str, Callable[[Element], str]] = {
    "a": lambda link: "" if link.get("href") else "leads nowhere",
    "form": _form,
    "img": lambda image: "" if "alt" in image.attrib else "has no alt",
    "th": lambda cell: "" if cell.get("scope") in ("col", "row", "colgroup", "rowgroup") else "has no scope",
    "time": lambda time: "" if _MOMENT.fullmatch(time.get("datetime", "")) else "has no moment programs can read",
}


def _names(elements: list[Element], parents: dict[Element, Element]) -> Iterator[str]:
    """Every control says what it is."""
    for_ids = {element.get("for") for element in elements if element.tag == "label"} - {None}
    for element in elements:
        if element.get("aria-label") or element.get("aria-labelledby"):
            continue
        if element.tag in ("input", "select", "textarea"):
            label = next((one for one in _ancestors(element, parents) if one.tag == "label"), None)
            is_labelled = element.get("id") in for_ids or (label is not None and _text(label))
            if _is_interactive(element) and element.get("aria-hidden") != "true" and not is_labelled:
                yield f"{_describe(element)} has no label"
        elif element.tag in _SAYING and not _text(element):
            yield f"{_describe(element)} says nothing"
        elif element.tag == "label" and not element.get("for"):
            controls = sum(one.tag in ("input", "select", "textarea", "button") for one in element.iter())
            if controls != 1:
                yield f"{_describe(element)} labels {controls} controls"


def _ids(elements: list[Element], *, is_whole: bool) -> Iterator[str]:
    ids = Counter(element.get("id") for element in elements if "id" in element.attrib)
    yield from (f'the id "{name}" is there {count} times' for name, count in ids.items() if count > 1)
    yield from (f'"{name}" is no id' for name in ids if not name or re.search(r"\s", name))
    for element in elements:
        for attribute in _REFERENCES:
            for name in element.get(attribute, "").split():
                if is_whole and name not in ids and element.tag != "output":
                    yield f'{_describe(element)} refers to "{name}", which is not there'
        href = element.get("href", "")
        if is_whole and href.startswith("#") and href[1:] not in ids:
            yield f'{_describe(element)} leads to "{href}", which is not there'


def _outline(elements: list[Element]) -> Iterator[str]:
    levels = [_HEADINGS.index(str(element.tag)) + 1 for element in elements if element.tag in _HEADINGS]
    if levels.count(1) != 1 or levels[0] != 1:
        yield f"the headings are {levels}: not one h1, and that first"
    yield from (f"after an h{upper} comes an h{lower}" for upper, lower in pairwise(levels) if lower > upper + 1)


def _document(root: Element, elements: list[Element]) -> Iterator[str]:
    tags = Counter(str(element.tag) for element in elements)
    if not root.get("lang"):
        yield "the document says no language"
    if tags["main"] != 1 or tags["title"] != 1:
        yield f"{tags['main']} main and {tags['title']} titles"


def _text(element: Element) -> str:
    return " ".join("".join(element.itertext()).split())


def _describe(element: Element) -> str:
    shown = " ".join(f'{name}="{value}"' for name, value in list(element.attrib.items())[:4])
    return f"<{f'{element.tag} {shown}'.strip()}>" + (f" “{_text(element)[:40]}”" if _text(element) else "")
