"""The OpenAPI document, generated from the declarations of the endpoints, and its page at /api/docs."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import msgspec
from apispec import APISpec
from flask import Blueprint, Flask, Response, current_app, render_template
from werkzeug.routing import Rule

from app.api.admin_schemas import Liveness, Readiness
from app.api.operations import JSON, Operation, ResponseSpec, add_etag
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
    "health.health": Operation("Whether this process lives", "", "Health", {200: ResponseSpec(Liveness)}),
    "health.ready": Operation(
        "Whether it can work",
        "Database, migrations, Redis and workers, within two seconds even if one of them hangs; 503 if any is not.",
        "Health",
        {200: ResponseSpec(Readiness), 503: ResponseSpec(Readiness)},
    ),
}
"""Endpoints of `web.health`, described here."""
_MAX_ID = 2**63 - 1
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
    response = Response(encoded := msgspec.json.encode(_load_document()), mimetype=JSON)
    add_etag(response, encoded)
    return response


@blueprint.get("/api/docs")
def page() -> str:
    """The document as an HTML page without scripts."""
    openapi = _load_document()
    sections = [
        DocSection(tag["name"], tag["description"], list(_doc_entries(openapi, tag["name"]))) for tag in openapi["tags"]
    ]
    return render_template("api/docs.html", document=openapi, sections=sections, scopes=SCOPES)


def _load_document() -> dict[str, Any]:
    """Built once per app: its routes do not change."""
    if "openapi" not in current_app.extensions:
        current_app.extensions["openapi"] = build_document(current_app)
    loaded: dict[str, Any] = current_app.extensions["openapi"]
    return loaded


def build_document(app: Flask) -> dict[str, Any]:
    """The OpenAPI 3.1 document of all described routes."""
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
    operations = sorted(_operations(app), key=lambda item: (list(_TAGS).index(item[2].tag), item[0].rule, item[1]))
    types = _collect_types(operations)
    schemas, components = msgspec.json.schema_components(types, ref_template=_REF)
    for name, schema in components.items():
        spec.components.schema(name, schema)
    schemas_by_type = dict(zip(map(id, types), schemas, strict=True))
    for rule, method, operation in operations:
        spec.path(
            path=re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", rule.rule),
            operations={method.lower(): _operation_object(rule, method, operation, schemas_by_type)},
        )
    return spec.to_dict()


def _operations(app: Flask) -> Iterator[tuple[Rule, str, Operation]]:
    for rule in app.url_map.iter_rules():
        operation = _HEALTH.get(rule.endpoint) or getattr(app.view_functions[rule.endpoint], "operation", None)
        for method in sorted((rule.methods or set()) - {"HEAD", "OPTIONS"}) if operation else ():
            yield rule, method, operation  # type: ignore[misc]  # it is one, or the loop is empty


def _collect_types(operations: list[tuple[Rule, str, Operation]]) -> list[Any]:
    """Request and response types, each once; compared by identity, since not all are hashable."""
    types: list[Any] = []
    for _, _, operation in operations:
        used = [operation.body, *(response.body for response in operation.responses.values())]
        types += [item for item in used if item is not None and not any(item is existing for existing in types)]
    return types


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


def _operation_object(rule: Rule, method: str, operation: Operation, schemas: dict[int, Any]) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "operationId": rule.endpoint.replace(".", "_") + (f"_by_{method.lower()}" if _has_methods(rule) else ""),
        "summary": operation.title,
        "tags": [operation.tag],
        "parameters": [*_path_parameters(rule), *_query_parameters(operation)],
        "responses": {
            str(code): _response_object(code, spec, operation, schemas) for code, spec in operation.responses.items()
        },
        "security": _security(operation, method),
    }
    if operation.text:
        entry["description"] = operation.text
    if operation.body is not None:
        entry["requestBody"] = {"content": {JSON: {"schema": schemas[id(operation.body)]}}, "required": False}
    return entry


def _has_methods(rule: Rule) -> bool:
    return len((rule.methods or set()) - {"HEAD", "OPTIONS"}) > 1


def _security(operation: Operation, method: str) -> list[dict[str, list[str]]]:
    session: dict[str, list[str]] = {"session": []} if method == "GET" else {"session": [], "csrf": []}
    others: list[dict[str, list[str]]] = [session if name == "session" else {name: []} for name in operation.security]
    return others if operation.scope is None else [{"token": [operation.scope]}, session, *others]


def _path_parameters(rule: Rule) -> Iterator[dict[str, Any]]:
    for converter, name in re.findall(r"<(?:(\w+):)?(\w+)>", rule.rule):
        id_schema = {"type": "integer", "format": "int64", "minimum": 0, "maximum": _MAX_ID}
        schema = id_schema if converter == "int" else {"type": "string", "minLength": 1}
        yield {"name": name, "in": "path", "required": True, "schema": schema}


def _query_parameters(operation: Operation) -> Iterator[dict[str, Any]]:
    if operation.query is None:
        return
    schema = msgspec.json.schema(operation.query, ref_template="#/$defs/{name}")
    for name, property_schema in schema["$defs"][operation.query.__name__]["properties"].items():
        bare = {key: value for key, value in property_schema.items() if key != "description"}
        entry: dict[str, Any] = {"name": name, "in": "query", "required": False, "schema": bare}
        if "description" in property_schema:
            entry["description"] = property_schema["description"]
        yield entry


def _response_object(code: int, spec: ResponseSpec, operation: Operation, schemas: dict[int, Any]) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "description": operation.meaning(code),
        "headers": dict(_response_headers(code, operation)),
    }
    if spec.body is not None:
        entry["content"] = {spec.media: {"schema": schemas[id(spec.body)]}}
    return entry


def _response_headers(code: int, operation: Operation) -> Iterator[tuple[str, dict[str, Any]]]:
    retry = ["Retry-After"] if operation.tag != "Health" else []
    names = {
        200: (["ETag"] if operation.has_etag else []) + (["Link"] if operation.paged else []),
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
class DocField:
    name: str
    words: str
    """Its type in words."""
    text: str
    required: bool


@dataclass(frozen=True)
class DocEntry:
    id: str
    method: str
    path: str
    title: str
    text: str
    scope: str
    """The scope a token needs; empty where tokens are not accepted."""
    parameters: list[DocField]
    body: list[DocField]
    answers: list[tuple[str, str, str]]
    """(status, meaning, media type)"""
    shape: str
    """Schema name of the successful response."""
    fields: list[DocField]


@dataclass(frozen=True)
class DocSection:
    title: str
    text: str
    entries: list[DocEntry]


def _doc_entries(document: dict[str, Any], tag: str) -> Iterator[DocEntry]:
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            if tag in operation["tags"]:
                yield _doc_entry(document, path, method, operation)


def _doc_entry(document: dict[str, Any], path: str, method: str, operation: dict[str, Any]) -> DocEntry:
    success = next(response for code, response in operation["responses"].items() if code.startswith("2"))
    schema = next(iter(success["content"].values()))["schema"]
    body = operation.get("requestBody", {}).get("content", {}).get(JSON, {}).get("schema", {})
    scopes = [names["token"][0] for names in operation["security"] if "token" in names]
    return DocEntry(
        id=operation["operationId"],
        method=method.upper(),
        path=path,
        title=operation["summary"],
        text=operation.get("description", ""),
        scope=scopes[0] if scopes else "",
        parameters=[
            DocField(each["name"], _type_name(each["schema"]), each.get("description", ""), each["required"])
            for each in operation["parameters"]
        ],
        body=_doc_fields(document, body),
        answers=[
            (code, response["description"], next(iter(response.get("content", {"": None}))))
            for code, response in operation["responses"].items()
        ],
        shape=_type_name(schema),
        fields=_doc_fields(document, schema),
    )


def _doc_fields(document: dict[str, Any], schema: dict[str, Any]) -> list[DocField]:
    """The fields of a schema, each followed by those of the objects it holds."""
    resolved = _resolve_ref(document, schema)
    fields: list[DocField] = []
    for name, one in resolved.get("properties", {}).items():
        fields.append(DocField(name, _type_name(one), one.get("description", ""), name in resolved.get("required", ())))
        inner = one.get("items") or (one if "$ref" in one else None)
        if inner and "$ref" in inner:
            prefix = f"{name}[]." if "items" in one else f"{name}."
            fields += [replace(field, name=prefix + field.name) for field in _doc_fields(document, inner)]
    values = resolved.get("additionalProperties")
    if not fields and isinstance(values, dict):
        return [replace(field, name=f"*.{field.name}") for field in _doc_fields(document, values)]
    return fields


def _resolve_ref(document: dict[str, Any], schema: dict[str, Any]) -> dict[str, Any]:
    name = schema.get("$ref", "").rpartition("/")[2]
    resolved: dict[str, Any] = document["components"]["schemas"][name] if name else schema
    return resolved


def _type_name(schema: dict[str, Any]) -> str:
    """ "string or null", "list of Model", "one of chat, completion, …" """
    if "$ref" in schema:
        return str(schema["$ref"].rpartition("/")[2])
    if "enum" in schema:
        return _enum_name(schema["enum"])
    if "anyOf" in schema:
        return " or ".join(filter(None, dict.fromkeys(_type_name(option) for option in schema["anyOf"])))
    if schema.get("type") == "array":
        return f"list of {_type_name(schema.get('items', {})).removeprefix('one of ')}"
    if schema.get("type") == "object" and isinstance(schema.get("additionalProperties"), dict):
        return f"object of {_type_name(schema['additionalProperties'])}"
    return str(schema.get("format") or schema.get("type") or "anything")


def _enum_name(words: list[Any]) -> str:
    """The empty string (no filter) is left out."""
    values = [str(word) for word in words if word != ""]
    return f"one of {', '.join(values)}" if len(values) > 1 else "".join(values)
