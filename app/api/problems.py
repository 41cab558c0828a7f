"""Error responses: RFC 9457 problem+json, and OpenAI's error object under `/v1/`."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import Annotated

import msgspec
from flask import Flask, Response, request
from werkzeug.exceptions import HTTPException

PROBLEM = "application/problem+json"
_SENTENCES = {
    400: ("That request was not understood", "See /api/docs for what may be asked."),
    403: ("That is not allowed", "Ask with another account, or with a token that has the scope."),
    404: ("There is nothing here", "It may never have been, it may be another user's, or it was removed."),
    405: ("That method is not known here", "The Allow header names those that are."),
    429: ("Too many requests", "Wait as long as the Retry-After header says."),
}
_OPENAI_TYPES = {429: "rate_limit_error"}
_OPENAI_CODES = {
    401: "invalid_api_key",
    403: "insufficient_permissions",
    404: "model_not_found",
    429: "rate_limit_exceeded",
}


class FieldProblem(msgspec.Struct, frozen=True):
    """What is wrong with one field of what was asked."""

    field: str
    message: str


class Problem(msgspec.Struct, frozen=True):
    """An error, after RFC 9457."""

    title: Annotated[str, msgspec.Meta(description="The status in words.")]
    status: int
    detail: Annotated[str, msgspec.Meta(description="What happened and what to do, for a person.")]
    type: str = "about:blank"
    errors: Annotated[
        tuple[FieldProblem, ...] | msgspec.UnsetType,
        msgspec.Meta(description="The fields that are wrong, where fields are."),
    ] = msgspec.UNSET


class OpenAIErrorBody(msgspec.Struct, frozen=True):
    message: str
    type: str
    param: str | None
    code: str | None


class OpenAIError(msgspec.Struct, frozen=True):
    """An error in OpenAI's shape."""

    error: OpenAIErrorBody


class PlainError(msgspec.Struct, frozen=True):
    """An error as one sentence."""

    error: str


class ApiError(HTTPException):
    """An error response. detail: what happened and what to do, for a person."""

    def __init__(
        self,
        status: HTTPStatus,
        detail: str,
        errors: tuple[FieldProblem, ...] = (),
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(detail)
        self.code = int(status)
        self.detail = detail
        self.errors = errors
        self.extra_headers = headers or {}


def init_app(app: Flask) -> None:
    app.register_error_handler(ApiError, _handle_api_error)


def _handle_api_error(error: ApiError) -> Response:
    respond = openai_error_response if request.path.startswith("/v1/") else problem_response
    response = respond(error.code or 400, error.detail, error.errors)
    response.headers.update(error.extra_headers)
    return response


def problem_response(status: int, detail: str, errors: tuple[FieldProblem, ...] = ()) -> Response:
    body = msgspec.json.encode(Problem(_reason_phrase(status), status, detail, errors=errors or msgspec.UNSET))
    return Response(body, status, mimetype=PROBLEM)


def openai_error_response(status: int, detail: str, errors: tuple[FieldProblem, ...] = ()) -> Response:
    kind = _OPENAI_TYPES.get(status, "server_error" if status >= 500 else "invalid_request_error")
    param = errors[0].field if errors else None
    body = OpenAIError(OpenAIErrorBody(detail, kind, param, _OPENAI_CODES.get(status)))
    return Response(msgspec.json.encode(body), status, mimetype="application/json")


def _format_problem(status: int, message: str, todo: str) -> Response:
    return problem_response(status, _describe_status(status, message, todo))


def _format_openai_error(status: int, message: str, todo: str) -> Response:
    return openai_error_response(status, _describe_status(status, message, todo))


def _describe_status(status: int, message: str, todo: str) -> str:
    """The error page's sentence, except where that one speaks of pages."""
    if "CSRF" not in message:
        message, todo = _SENTENCES.get(status, (message, todo))
    else:
        todo = "Send the page's token in X-CSRFToken, or ask with a personal token instead of a session."
    return f"{message}. {todo}"


def _reason_phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Error"


FORMATTERS = dict.fromkeys(
    ("/api/v1", "/api.json", "/admin/model-sync", "/models/stats", "/providers/stats"), _format_problem
) | {"/v1/": _format_openai_error}
"""Path prefix → format of the errors below it."""
