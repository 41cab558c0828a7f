"""The OpenAPI document, made from what the endpoints say of themselves, and a page to read it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import msgspec
from apispec import APISpec
from flask import Blueprint, Flask, Response, current_app, render_template
from werkzeug.routing import Rule

from app.api.admin_schemas import Liveness, Readiness
from app.api.operations import JSON, Answers, Operation, tag
from app.store.accounts.tokens import SCOPES

blueprint = Blueprint("openapi", __name__)

VERSION = "1"
_REF = "#/components/schemas/{name}"
_TAGS = {
    "Keys": "Providers and the API keys you stored for them. A key itself is never told.",
    "Models": "What your keys can use.",
    "Changes and runs": "What your syncs found, and how they went.",
    "For other programs": "The same list in shapes that other programs know.",
    "Sync, as before": "The first endpoints, in the words of the first documents.",
    "Administration": "The shared catalog and its sync with the server's own keys: for an admin's session or personal "
    "token, or with ADMIN_API_KEY as a bearer.",
    "Health": "For containers, load balancers and whoever watches over the server. Anyone may ask.",
}
_HEALTH = {
    "health.health": Operation("Whether this process lives", "", "Health", {200: Answers(Liveness)}),
    "health.ready": Operation(
        "Whether it can work",
        "Database, migrations, Redis and workers, within two seconds even if one of them hangs; 503 if any is not.",
        "Health",
        {200: Answers(Readiness), 503: Answers(Readiness)},
    ),
}
"""Endpoints whose views stand among the pages."""
_LARGEST_ID = 2**63 - 1
_HEADERS = {
    "ETag": "Send it back in If-None-Match: 304 if nothing changed.",
    "Link": "The address of the next page, with rel=next; on the last page there is none.",
    "Location": "The run's address.",
    "Retry-After": "Seconds to wait.",
    "WWW-Authenticate": "How to say who you are.",
    "X-RateLimit-Limit": "Requests you have in a minute.",
    "X-RateLimit-Remaining": "Requests left.",
    "X-RateLimit-Reset": "Unix time at which there are more again.",
}


@blueprint.get("/api/openapi.json")
def document() -> Response:
    response = Response(encoded := msgspec.json.encode(_document()), mimetype=JSON)
    tag(response, encoded)
    return response


@blueprint.get("/api/docs")
def page() -> str:
    """The document as a page of ours, without any script."""
    found = _document()
    sections = [Section(tag["name"], tag["description"], list(_entries(found, tag["name"]))) for tag in found["tags"]]
    return render_template("api/docs.html", document=found, sections=sections, scopes=SCOPES)


def _document() -> dict[str, Any]:
    """Made once for an app: its routes do not change."""
    if "openapi" not in current_app.extensions:
        current_app.extensions["openapi"] = document_of(current_app)
    found: dict[str, Any] = current_app.extensions["openapi"]
    return found


def document_of(app: Flask) -> dict[str, Any]:
    """The OpenAPI 3.1 document of all routes whose view says what it is."""
    spec = APISpec(
        title="Modelsync",
        version=VERSION,
        openapi_version="3.1.0",
        info={
            "description": "What your API keys can really use, for programs. Send a personal token, made at "
            "/settings/tokens, as a bearer; or a signed-in session's cookie, with its CSRF token for what changes "
            "something.",
        },
        servers=[{"url": "/"}],
        tags=[{"name": name, "description": text} for name, text in _TAGS.items()],
    )
    _add_security(spec, str(app.config["SESSION_COOKIE_NAME"]))
    for name, text in _HEADERS.items():
        kind = "integer" if name == "Retry-After" or name.startswith("X-RateLimit") else "string"
        spec.components.header(name, {"description": text, "schema": {"type": kind}})
    found = sorted(_operations(app), key=lambda one: (list(_TAGS).index(one[2].tag), one[0].rule, one[1]))
    schemas, components = msgspec.json.schema_components(_shapes(found), ref_template=_REF)
    for name, schema in components.items():
        spec.components.schema(name, schema)
    by_shape = dict(zip(map(id, _shapes(found)), schemas, strict=True))
    for rule, method, operation in found:
        spec.path(
            path=re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", rule.rule),
            operations={method.lower(): _entry(rule, method, operation, by_shape)},
        )
    return spec.to_dict()


def _operations(app: Flask) -> Iterator[tuple[Rule, str, Operation]]:
    for rule in app.url_map.iter_rules():
        operation = _HEALTH.get(rule.endpoint) or getattr(app.view_functions[rule.endpoint], "operation", None)
        for method in sorted((rule.methods or set()) - {"HEAD", "OPTIONS"}) if operation else ():
            yield rule, method, operation  # type: ignore[misc]  # it is one, or the loop is empty


def _shapes(found: list[tuple[Rule, str, Operation]]) -> list[Any]:
    shapes: list[Any] = []
    for _, _, operation in found:
        wanted = [operation.body, *(answers.shape for answers in operation.answers.values())]
        shapes += [shape for shape in wanted if shape is not None and not any(shape is one for one in shapes)]
    return shapes


def _add_security(spec: APISpec, cookie: str) -> None:
    bearer = {"type": "http", "scheme": "bearer"}
    spec.components.security_scheme("token", {**bearer, "description": "A personal token, msk_…"})
    spec.components.security_scheme(
        "session", {"type": "apiKey", "in": "cookie", "name": cookie, "description": "Of a person signed in."}
    )
    spec.components.security_scheme(
        "csrf", {"type": "apiKey", "in": "header", "name": "X-CSRFToken", "description": "The token of a page."}
    )
    spec.components.security_scheme("cron", {**bearer, "description": "CRON_SECRET."})
    spec.components.security_scheme("admin", {**bearer, "description": "ADMIN_API_KEY."})


def _entry(rule: Rule, method: str, operation: Operation, by_shape: dict[int, Any]) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "operationId": f"{rule.endpoint.replace('.', '_')}{'_by_' + method.lower() if _is_twofold(rule) else ''}",
        "summary": operation.title,
        "tags": [operation.tag],
        "parameters": [*_address(rule), *_parameters(operation)],
        "responses": {str(code): _response(code, one, operation, by_shape) for code, one in operation.answers.items()},
        "security": _security(operation, method),
    }
    if operation.text:
        entry["description"] = operation.text
    if operation.body is not None:
        entry["requestBody"] = {"content": {JSON: {"schema": by_shape[id(operation.body)]}}, "required": False}
    return entry


def _is_twofold(rule: Rule) -> bool:
    return len((rule.methods or set()) - {"HEAD", "OPTIONS"}) > 1


def _security(operation: Operation, method: str) -> list[dict[str, list[str]]]:
    session: dict[str, list[str]] = {"session": []} if method == "GET" else {"session": [], "csrf": []}
    others: list[dict[str, list[str]]] = [session if name == "session" else {name: []} for name in operation.security]
    return others if operation.scope is None else [{"token": [operation.scope]}, session, *others]


def _address(rule: Rule) -> Iterator[dict[str, Any]]:
    """What the address itself holds."""
    for converter, name in re.findall(r"<(?:(\w+):)?(\w+)>", rule.rule):
        whole = {"type": "integer", "format": "int64", "minimum": 0, "maximum": _LARGEST_ID}
        schema = whole if converter == "int" else {"type": "string", "minLength": 1}
        yield {"name": name, "in": "path", "required": True, "schema": schema}


def _parameters(operation: Operation) -> Iterator[dict[str, Any]]:
    if operation.query is None:
        return
    schema = msgspec.json.schema(operation.query, ref_template="#/$defs/{name}")
    for name, one in schema["$defs"][operation.query.__name__]["properties"].items():
        described = {key: value for key, value in one.items() if key != "description"}
        entry: dict[str, Any] = {"name": name, "in": "query", "required": False, "schema": described}
        if "description" in one:
            entry["description"] = one["description"]
        yield entry


def _response(code: int, one: Answers, operation: Operation, by_shape: dict[int, Any]) -> dict[str, Any]:
    entry: dict[str, Any] = {"description": operation.meaning(code), "headers": dict(_headers(code, operation))}
    if one.shape is not None:
        entry["content"] = {one.media: {"schema": by_shape[id(one.shape)]}}
    return entry


def _headers(code: int, operation: Operation) -> Iterator[tuple[str, dict[str, Any]]]:
    retry = ["Retry-After"] if operation.tag != "Health" else []
    names = {
        200: (["ETag"] if operation.tagged else []) + (["Link"] if operation.paged else []),
        202: ["Location"],
        304: ["ETag"],
        401: ["WWW-Authenticate"] if operation.scope else [],
        429: ["Retry-After"],
        503: retry,
    }.get(code, [])
    limits = [name for name in _HEADERS if name.startswith("X-RateLimit")] if operation.scope else []
    for name in (*names, *limits):
        yield name, {"$ref": f"#/components/headers/{name}"}


# ------------------------------------------------------------------ the page


@dataclass(frozen=True)
class FieldLine:
    name: str
    words: str
    """Its type, for a person."""
    text: str
    required: bool


@dataclass(frozen=True)
class Entry:
    id: str
    method: str
    path: str
    title: str
    text: str
    scope: str
    """What a token needs; empty where none is known."""
    parameters: list[FieldLine]
    body: list[FieldLine]
    answers: list[tuple[str, str, str]]
    """(status, meaning, media type)"""
    shape: str
    """The name of the good answer's schema."""
    fields: list[FieldLine]


@dataclass(frozen=True)
class Section:
    title: str
    text: str
    entries: list[Entry]


def _entries(document: dict[str, Any], tag: str) -> Iterator[Entry]:
    for path, operations in document["paths"].items():
        for method, one in operations.items():
            if tag in one["tags"]:
                yield _page_entry(document, path, method, one)


def _page_entry(document: dict[str, Any], path: str, method: str, one: dict[str, Any]) -> Entry:
    good = next(answer for code, answer in one["responses"].items() if code.startswith("2"))
    shape = next(iter(good["content"].values()))["schema"]
    body = one.get("requestBody", {}).get("content", {}).get(JSON, {}).get("schema", {})
    scopes = [names["token"][0] for names in one["security"] if "token" in names]
    return Entry(
        id=one["operationId"],
        method=method.upper(),
        path=path,
        title=one["summary"],
        text=one.get("description", ""),
        scope=scopes[0] if scopes else "",
        parameters=[
            FieldLine(each["name"], _words(each["schema"]), each.get("description", ""), each["required"])
            for each in one["parameters"]
        ],
        body=_fields(document, body),
        answers=[
            (code, answer["description"], next(iter(answer.get("content", {"": None}))))
            for code, answer in one["responses"].items()
        ],
        shape=_words(shape),
        fields=_fields(document, shape),
    )


def _fields(document: dict[str, Any], schema: dict[str, Any]) -> list[FieldLine]:
    """The fields of an answer, those of what it lists behind them."""
    found = _resolved(document, schema)
    lines: list[FieldLine] = []
    for name, one in found.get("properties", {}).items():
        lines.append(FieldLine(name, _words(one), one.get("description", ""), name in found.get("required", ())))
        inner = one.get("items") or (one if "$ref" in one else None)
        if inner and "$ref" in inner:
            mark = f"{name}[]." if "items" in one else f"{name}."
            lines += [
                FieldLine(mark + line.name, line.words, line.text, line.required) for line in _fields(document, inner)
            ]
    if not lines and isinstance(found.get("additionalProperties"), dict):
        return [
            FieldLine(f"*.{line.name}", line.words, line.text, line.required)
            for line in _fields(document, found["additionalProperties"])
        ]
    return lines


def _resolved(document: dict[str, Any], schema: dict[str, Any]) -> dict[str, Any]:
    name = schema.get("$ref", "").rpartition("/")[2]
    found: dict[str, Any] = document["components"]["schemas"][name] if name else schema
    return found


def _words(schema: dict[str, Any]) -> str:
    """ "string or null", "list of Model", "one of chat, completion, …" """
    if "$ref" in schema:
        return str(schema["$ref"].rpartition("/")[2])
    if "enum" in schema:
        return _choice(schema["enum"])
    if "anyOf" in schema:
        return " or ".join(filter(None, dict.fromkeys(_words(one) for one in schema["anyOf"])))
    if schema.get("type") == "array":
        return f"list of {_words(schema.get('items', {})).removeprefix('one of ')}"
    if schema.get("type") == "object" and isinstance(schema.get("additionalProperties"), dict):
        return f"object of {_words(schema['additionalProperties'])}"
    return str(schema.get("format") or schema.get("type") or "anything")


def _choice(words: list[Any]) -> str:
    """The empty word, which says that nothing is asked for, is not worth telling."""
    told = [str(word) for word in words if word != ""]
    return f"one of {', '.join(told)}" if len(told) > 1 else "".join(told)
