"""Declares API endpoints: scope, parameters, body, responses.

One declaration authenticates, validates and encodes requests and feeds the OpenAPI document, so the two cannot drift.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, TypeVar

import msgspec
from flask import Response, request, url_for

from app.api import auth
from app.api.problems import PROBLEM, ApiError, FieldProblem, PlainError, Problem
from app.extensions import limiter
from app.store.accounts.tokens import Scope

JSON = "application/json"
Query = TypeVar("Query", bound=msgspec.Struct)
READS, WRITES = "600 per minute", "60 per minute"
"""Rate limits per account, over all its tokens and sessions."""
_DESCRIPTIONS = {
    200: "As asked.",
    202: "A run was queued, or is under way already.",
    304: "Nothing changed since the answer with this ETag.",
    400: "The request was not understood, or its session's CSRF token is missing.",
    401: "Nobody is signed in, or the token is wrong, expired or revoked.",
    403: "The token lacks the scope.",
    404: "There is no such thing, or it is another user's.",
    409: "That cannot be done now.",
    413: "Too much was sent.",
    415: "The body is not JSON.",
    429: "Too many requests: see Retry-After.",
    503: "The database or the queue cannot be reached.",
    507: "The server's disk is full.",
}
_ADMIN_DESCRIPTIONS = {
    202: "It is under way: look at the address in Location.",
    403: "This is for admins, or the token lacks the scope.",
    404: "There is no such thing, or nobody is signed in and no ADMIN_API_KEY is set.",
}


@dataclass(frozen=True)
class ResponseSpec:
    """The response with one status."""

    body: Any
    """A type that msgspec can encode; None for an empty body."""
    media: str = JSON


@dataclass(frozen=True)
class Operation:
    """One endpoint's entry in the OpenAPI document."""

    title: str
    text: str
    tag: str
    responses: Mapping[int, ResponseSpec]
    query: type[msgspec.Struct] | None = None
    body: type[msgspec.Struct] | None = None
    scope: Scope | None = None
    """The scope a personal token needs; None where tokens are not accepted."""
    security: tuple[str, ...] = ()
    """Names of the security schemes accepted besides a token with the scope."""
    paged: bool = False
    has_etag: bool = False

    def meaning(self, status: int) -> str:
        return (_ADMIN_DESCRIPTIONS.get(status) if "admin" in self.security else None) or _DESCRIPTIONS[status]


@dataclass(frozen=True)
class Reply:
    """A response that is not a plain 200."""

    body: msgspec.Struct
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    following: str | None = None
    """The cursor of the next page, for the Link header."""


def operation(
    response_type: Any,
    *,
    tag: str,
    scope: Scope = "read",
    query: type[msgspec.Struct] | None = None,
    body: type[msgspec.Struct] | None = None,
    status: int = 200,
    also: tuple[int, ...] = (),
    errors: type[msgspec.Struct] = Problem,
    paged: bool = False,
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Decorate `view(caller, query=…, body=…, **path)`, which returns a struct or a `Reply`, as an endpoint.

    also: error statuses that the view itself raises, besides those common to all endpoints.
    """
    writes = scope == "sync"
    error_statuses = {400, 401, 403, 429, 503, *also} | ({507} if writes else set()) | ({413, 415} if body else set())
    media = PROBLEM if errors is Problem else JSON
    responses = {status: ResponseSpec(response_type)} | {code: ResponseSpec(errors, media) for code in error_statuses}
    if not writes:
        responses[304] = ResponseSpec(None)

    def decorate(view: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(view)
        def endpoint(**path: Any) -> Response:
            caller = auth.authenticate(scope)
            arguments: dict[str, Any] = {"query": read_query(query)} if query else _reject_query()
            if body:
                arguments["body"] = read_body(body)
            result = view(caller, **arguments, **path)
            return respond(result if isinstance(result, Reply) else Reply(result), has_etag=not writes)

        title, _, text = (view.__doc__ or "").partition("\n")
        limited = limiter.shared_limit(WRITES if writes else READS, scope=f"api {scope}", key_func=auth.rate_limit_key)
        limited_view = limited(endpoint)
        limited_view.operation = Operation(  # type: ignore[attr-defined]
            title=title.rstrip("."),
            text=" ".join(text.split()),
            tag=tag,
            responses=dict(sorted(responses.items())),
            query=query,
            body=body,
            scope=scope,
            paged=paged,
            has_etag=not writes,
        )
        return limited_view

    return decorate


def describe(
    response_types: Mapping[int, type[msgspec.Struct]],
    *,
    tag: str,
    security: tuple[str, ...],
    errors: tuple[int, ...] = (),
    error_body: type[msgspec.Struct] = PlainError,
    scope: Scope | None = None,
    query: type[msgspec.Struct] | None = None,
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Add a plain view to the OpenAPI document.

    error_body: type of its errors. scope: what a personal token needs, where one is accepted besides `security`.
    """
    media = PROBLEM if error_body is Problem else JSON
    responses = {status: ResponseSpec(body) for status, body in response_types.items()}
    responses |= {status: ResponseSpec(error_body, media) for status in errors}

    def decorate(view: Callable[..., Any]) -> Callable[..., Any]:
        title, _, text = (view.__doc__ or "").partition("\n")
        view.operation = Operation(  # type: ignore[attr-defined]
            title.rstrip("."),
            " ".join(text.split()),
            tag,
            dict(sorted(responses.items())),
            query=query,
            scope=scope,
            security=security,
        )
        return view

    return decorate


def describe_admin(
    response_types: Mapping[int, type[msgspec.Struct]],
    *,
    scope: Scope = "read",
    query: type[msgspec.Struct] | None = None,
    also: tuple[int, ...] = (),
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Describe a view that calls `authenticate_admin`. also: error statuses that it raises itself."""
    error_statuses = {400, 401, 403, 404, 429, 503, *also} | ({507} if scope == "sync" else set())
    return describe(
        response_types,
        tag="Administration",
        security=("admin",),
        errors=tuple(sorted(error_statuses)),
        error_body=Problem,
        scope=scope,
        query=query,
    )


# ------------------------------------------------------------------ requests


def read_query(query_type: type[Query]) -> Query:
    """The query parameters. Raises ApiError (400) naming the invalid field."""
    fields = msgspec.structs.fields(query_type)
    scalars = {item.encode_name for item in fields if item.default_factory is not list}
    values: dict[str, Any] = {}
    for name, items in request.args.lists():
        if name in scalars and len(items) > 1:
            raise invalid_field(name, "Given more than once.")
        values[name] = items[0] if name in scalars else items
    try:
        return msgspec.convert(values, query_type, strict=False)
    except msgspec.ValidationError as error:
        raise invalid_field(*_split_validation_error(error)) from None


def _reject_query() -> dict[str, Any]:
    """For endpoints without parameters: an unknown one may be a misspelt filter, so it is not ignored."""
    for name in request.args:
        raise invalid_field(name, "There is no such parameter here.")
    return {}


def read_body(body_type: type[msgspec.Struct]) -> msgspec.Struct:
    """The JSON body; an empty body counts as `{}`. Raises ApiError (400, 415)."""
    data = request.get_data()
    if data and request.mimetype != JSON:
        raise ApiError(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "Send JSON, with Content-Type: application/json.")
    try:
        return msgspec.json.decode(data or b"{}", type=body_type)
    except msgspec.ValidationError as error:
        raise invalid_field(*_split_validation_error(error)) from None
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise ApiError(HTTPStatus.BAD_REQUEST, "The body is no JSON. Send an object, or nothing.") from None


def _split_validation_error(error: msgspec.ValidationError) -> tuple[str, str]:
    """Splits "Expected `int` <= 200 - at `$.limit`" into field name and sentence."""
    message, _, path = str(error).partition(" - at `$")
    name = path.rstrip("`").lstrip(".").partition("[")[0]
    if not name and "`" in message:  # an unknown field is named in the message itself
        name = message.split("`")[1] if "unknown field" in message else ""
    return name, message.rstrip(".") + "."


def invalid_field(name: str, message: str) -> ApiError:
    """Error 400 about one field."""
    about = f"The field {name} is wrong" if name else "The request is wrong"
    return ApiError(HTTPStatus.BAD_REQUEST, f"{about}. {message} See /api/docs.", (FieldProblem(name, message),))


# ------------------------------------------------------------------ responses


def respond(reply: Reply, *, has_etag: bool) -> Response:
    """The body as JSON, with ETag and a Link to the next page."""
    content = msgspec.json.encode(reply.body)
    response = Response(content, reply.status, mimetype=JSON, headers=dict(reply.headers))
    if reply.following is not None:
        arguments: dict[str, Any] = {**request.args.to_dict(flat=False), "after": [reply.following]}
        url = url_for(request.endpoint or "", **(request.view_args or {}), **arguments)
        response.headers["Link"] = f'<{url}>; rel="next"'
    if has_etag:
        add_etag(response, content)
    return response


def add_etag(response: Response, content: bytes) -> None:
    """Set an ETag over the body, answer conditional requests with 304, and keep shared caches from storing it."""
    response.set_etag(hashlib.sha256(content).hexdigest()[:32])
    response.headers["Cache-Control"] = "private, no-cache"
    response.vary.add("Authorization")
    response.make_conditional(request)
