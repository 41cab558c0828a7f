"""What an endpoint of the API says of itself: who may call it, what it reads, what it answers.

The same words admit, check and encode a request, and make the OpenAPI document: the two cannot drift apart.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

import msgspec
from flask import Response, request, url_for

from app.api import auth
from app.api.problems import PROBLEM, FieldProblem, OpenAIError, PlainError, Problem, Refused
from app.extensions import limiter
from app.store.accounts.tokens import Scope

JSON = "application/json"
READS, WRITES = "600 per minute", "60 per minute"
"""Requests of one account, by all its tokens and sessions together."""
_MEANINGS = {
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
_MEANINGS_FOR_ADMINS = {
    202: "It is under way: look at the address in Location.",
    403: "This is for admins, or the token lacks the scope.",
    404: "There is no such thing, or nobody is signed in and no ADMIN_API_KEY is set.",
}


@dataclass(frozen=True)
class Answers:
    """What may come of a request with one status."""

    shape: Any
    """A type of msgspec's, None for no body."""
    media: str = JSON


@dataclass(frozen=True)
class Operation:
    """One endpoint's entry in the OpenAPI document."""

    title: str
    text: str
    tag: str
    answers: Mapping[int, Answers]
    query: type[msgspec.Struct] | None = None
    body: type[msgspec.Struct] | None = None
    scope: Scope | None = None
    """Needed of a token; None where no token is known."""
    security: tuple[str, ...] = ()
    """Names of the security schemes that will do, besides a token with the scope."""
    paged: bool = False
    tagged: bool = False
    """Whether its answers have an ETag."""

    def meaning(self, status: int) -> str:
        return (_MEANINGS_FOR_ADMINS.get(status) if "admin" in self.security else None) or _MEANINGS[status]


@dataclass(frozen=True)
class Reply:
    """An answer that is not a plain 200."""

    body: msgspec.Struct
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    following: str | None = None
    """The cursor of the next page, for the Link header."""


def operation(
    answer: Any,
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
    """Make a view of `view(caller, query=…, body=…, **address)` → a struct or a `Reply`.

    also: statuses of refusals that the view itself knows, besides those that every endpoint has.
    """
    writes = scope == "sync"
    refusals = {400, 401, 403, 429, 503, *also} | ({507} if writes else set()) | ({413, 415} if body else set())
    media = PROBLEM if errors is Problem else JSON
    told = {status: Answers(answer), **{code: Answers(errors, media) for code in sorted(refusals)}}
    if not writes:
        told[304] = Answers(None)

    def decorate(view: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(view)
        def answered(**address: Any) -> Response:
            caller = auth.admit(scope)
            asked: dict[str, Any] = {"query": read_query(query)} if query else _no_query()
            if body:
                asked["body"] = read_body(body)
            given = view(caller, **asked, **address)
            return respond(given if isinstance(given, Reply) else Reply(given), tagged=not writes)

        title, _, text = (view.__doc__ or "").partition("\n")
        limited = limiter.shared_limit(WRITES if writes else READS, scope=f"api {scope}", key_func=auth.limit_key)
        view_of_all = limited(answered)
        view_of_all.operation = Operation(  # type: ignore[attr-defined]
            title=title.rstrip("."),
            text=" ".join(text.split()),
            tag=tag,
            answers=dict(sorted(told.items())),
            query=query,
            body=body,
            scope=scope,
            paged=paged,
            tagged=not writes,
        )
        return view_of_all

    return decorate


def describe(
    answers: Mapping[int, type[msgspec.Struct]],
    *,
    tag: str,
    security: tuple[str, ...],
    errors: tuple[int, ...] = (),
    shape: type[msgspec.Struct] = PlainError,
    scope: Scope | None = None,
    query: type[msgspec.Struct] | None = None,
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Put a view that does all by itself into the OpenAPI document.

    shape: of its errors. scope: needed of a personal token, where one will do besides `security`.
    """
    media = PROBLEM if shape is Problem else JSON
    told = {status: Answers(answer) for status, answer in answers.items()}
    told |= {status: Answers(shape, media) for status in errors}

    def decorate(view: Callable[..., Any]) -> Callable[..., Any]:
        title, _, text = (view.__doc__ or "").partition("\n")
        view.operation = Operation(  # type: ignore[attr-defined]
            title.rstrip("."),
            " ".join(text.split()),
            tag,
            dict(sorted(told.items())),
            query=query,
            scope=scope,
            security=security,
        )
        return view

    return decorate


def for_admins(
    answers: Mapping[int, type[msgspec.Struct]],
    *,
    scope: Scope = "read",
    query: type[msgspec.Struct] | None = None,
    also: tuple[int, ...] = (),
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Describe a view that admits by `admin_doors.admit_admin`. also: statuses of refusals that it knows itself."""
    refusals = {400, 401, 403, 404, 429, 503, *also} | ({507} if scope == "sync" else set())
    return describe(
        answers,
        tag="Administration",
        security=("admin",),
        errors=tuple(sorted(refusals)),
        shape=Problem,
        scope=scope,
        query=query,
    )


# ------------------------------------------------------------------ reading what is asked


def read_query(shape: type[msgspec.Struct]) -> msgspec.Struct:
    """The parameters of the address. Raises Refused (400), with the field that is wrong."""
    known = msgspec.structs.fields(shape)
    single = {one.encode_name for one in known if one.default_factory is not list}
    values: dict[str, Any] = {}
    for name, given in request.args.lists():
        if name in single and len(given) > 1:
            raise wrong(name, "Given more than once.")
        values[name] = given[0] if name in single else given
    try:
        return msgspec.convert(values, shape, strict=False)
    except msgspec.ValidationError as error:
        raise wrong(*_told(error)) from None


def _no_query() -> dict[str, Any]:
    """An unknown parameter is refused, not passed over: it may be a filter with a slip of the pen."""
    for name in request.args:
        raise wrong(name, "There is no such parameter here.")
    return {}


def read_body(shape: type[msgspec.Struct]) -> msgspec.Struct:
    """The JSON that was sent; nothing sent counts as `{}`. Raises Refused (400, 415)."""
    sent = request.get_data()
    if sent and request.mimetype != JSON:
        raise Refused(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "Send JSON, with Content-Type: application/json.")
    try:
        return msgspec.json.decode(sent or b"{}", type=shape)
    except msgspec.ValidationError as error:
        raise wrong(*_told(error)) from None
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise Refused(HTTPStatus.BAD_REQUEST, "The body is no JSON. Send an object, or nothing.") from None


def _told(error: msgspec.ValidationError) -> tuple[str, str]:
    """ "Expected `int` <= 200 - at `$.limit`" as the field's name and a sentence."""
    what, _, where = str(error).partition(" - at `$")
    name = where.rstrip("`").lstrip(".").partition("[")[0]
    if not name and "`" in what:  # an unknown field is named in the message itself
        name = what.split("`")[1] if "unknown field" in what else ""
    return name, what.rstrip(".") + "."


def wrong(name: str, message: str) -> Refused:
    """A refusal of one field: 400."""
    about = f"The field {name} is wrong" if name else "The request is wrong"
    return Refused(HTTPStatus.BAD_REQUEST, f"{about}. {message} See /api/docs.", (FieldProblem(name, message),))


# ------------------------------------------------------------------ answering


def respond(reply: Reply, *, tagged: bool) -> Response:
    """The body as JSON, with its ETag and the address of the next page."""
    encoded = msgspec.json.encode(reply.body)
    response = Response(encoded, reply.status, mimetype=JSON, headers=dict(reply.headers))
    if reply.following is not None:
        here: dict[str, Any] = {**request.args.to_dict(flat=False), "after": [reply.following]}
        target = url_for(request.endpoint or "", **(request.view_args or {}), **here)
        response.headers["Link"] = f'<{target}>; rel="next"'
    if tagged:
        tag(response, encoded)
    return response


def tag(response: Response, encoded: bytes) -> None:
    """An ETag over the body, and 304 for who has it. What is one person's own is kept by nobody in between."""
    response.set_etag(hashlib.sha256(encoded).hexdigest()[:32])
    response.headers["Cache-Control"] = "private, no-cache"
    response.vary.add("Authorization")
    response.make_conditional(request)


__all__ = [
    "JSON",
    "OpenAIError",
    "Operation",
    "Reply",
    "describe",
    "for_admins",
    "operation",
    "respond",
    "tag",
    "wrong",
]
