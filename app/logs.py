"""Logging: one line per event, as JSON or for a terminal, through one chain for our code and all libraries.

Everything logs through the standard library's `logging`; structlog adds the ids of the request or job and renders the
line. No code is to log a secret. As a second line of defence, anything that looks like a key or a password, or is one
of this process's own secrets, is masked in messages, values and tracebacks. Non-printable characters are escaped, so
that no text can start a new line or control a terminal.

This module imports nothing of the app: gunicorn's master loads it alone (see `serving.py`).
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
import re
import sys
import threading
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Literal, get_args

import structlog
from structlog.types import EventDict, WrappedLogger

LogFormat = Literal["human", "json"]
LOG_FORMATS: tuple[LogFormat, ...] = get_args(LogFormat)
MASK = "[hidden]"
MAX_TEXT_LENGTH = 4_000
"""Characters of one value that are logged."""
_MAX_SCANNED_LENGTH = 20_000
"""Characters of one value that are searched for secrets; the rest is dropped first."""
_MAX_DEPTH, _MAX_ITEMS = 4, 50
_MAX_FRAMES, _MAX_CAUSES = 40, 5
_LEADING_FIELDS = ("time", "level", "logger", "event")

# ------------------------------------------------------------------ masking

_KEY_PATTERNS = re.compile(
    r"""
    -----BEGIN\ [A-Z ]*PRIVATE\ KEY-----.*?(?:-----END\ [A-Z ]*PRIVATE\ KEY-----|\Z)
    | (?<![A-Za-z0-9])(?:sk|pk|rk|gsk|xai|csk|cpk|rc|vck|fw|hf|r8|aimo|nvapi|pplx|tgp_v1|msk|gh[opsu]|github_pat|glpat)
      [-_][A-Za-z0-9_\-]{10,}                         # API keys of providers, and our own tokens
    | (?<![A-Za-z0-9])AIza[\w\-]{16,} | (?<![A-Za-z0-9])ya29\.[\w.\-]{10,} | (?<![A-Z0-9])AKIA[A-Z0-9]{12,}
    | (?<![A-Za-z0-9])eyJ[\w\-]{8,}(?:\.[\w\-]+){1,2}   # JSON Web Tokens
    """,
    re.VERBOSE | re.DOTALL,
)
_AUTH_SCHEMES = re.compile(r"(?i)\b(bearer|basic)(\s+)[^\s\"',;]{8,}")
_SECRET_HEADERS = re.compile(r"(?i)\b((?:proxy-)?authorization|(?:set-)?cookie)([\"'\\]*\s*[:=]\s*[\"'\\]*)[^\r\n\"']+")
_NAMED_SECRETS = re.compile(
    r"(?i)((?:api[-_ ]?key|secret(?:[-_]key)?|[a-z_]*token|password|passwd|passphrase|private[-_]keys?)"
    r"[\"'\\]*\s*[:=]\s*[\"'\\]*)([^\s\"'\\,;&)}\]]{4,})"
)
_URL_PASSWORD = re.compile(r"(://[^\s:/@\"']*):[^\s\"']+@")
_URL_SECRETS = re.compile(r"(?i)((?:[?&](?:key|token|invite|code|state)=)|/(?:feeds|reset|invite)/)[\w.\-~%]{6,}")
_WORD = re.compile(r"[A-Za-z0-9_\-]{8,}")


class Redactor:
    """Masks what looks like a secret, and each word of the given secrets.

    It keeps only salted digests of those, so that logging adds no further copy of them to the process's memory.
    """

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        self._salt = os.urandom(16)
        self._digests = frozenset(self._digest(word) for secret in secrets for word in _WORD.findall(secret))

    def redact(self, text: str) -> str:
        text = _KEY_PATTERNS.sub(MASK, text)
        text = _AUTH_SCHEMES.sub(rf"\1\2{MASK}", text)
        text = _SECRET_HEADERS.sub(rf"\1\2{MASK}", text)
        text = _URL_PASSWORD.sub(rf"\1:{MASK}@", text)
        text = _URL_SECRETS.sub(rf"\1{MASK}", text)
        text = _NAMED_SECRETS.sub(_mask_named_secret, text)
        return _WORD.sub(self._mask_known_secret, text) if self._digests else text

    def _digest(self, word: str) -> bytes:
        return hashlib.blake2b(word.encode(), digest_size=16, key=self._salt).digest()

    def _mask_known_secret(self, match: re.Match[str]) -> str:
        return MASK if self._digest(match[0]) in self._digests else match[0]


def _mask_named_secret(match: re.Match[str]) -> str:
    return match[0] if match[2].startswith(MASK[:-1]) else f"{match[1]}{MASK}"


def escape_unprintable(text: str) -> str:
    """The text on one line, with non-printable characters (line breaks, escapes, direction marks, surrogates) as escape
    sequences."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)


# ------------------------------------------------------------------ processors and renderers


class _EventSanitizer:
    """structlog processor that masks, escapes and bounds everything in an event."""

    def __init__(self, redactor: Redactor) -> None:
        self._redactor = redactor

    def __call__(self, _logger: WrappedLogger, _name: str, event: EventDict) -> EventDict:
        error = event.pop("exc_info", None)
        event.pop("stack_info", None)
        fields = {self.text(str(name)): self._redact_named_value(str(name), value, 0) for name, value in event.items()}
        if lines := list(_format_traceback(error)):
            fields["exception"] = [self.text(line) for line in lines]
        leading = {name: fields.pop(name) for name in _LEADING_FIELDS if name in fields}
        return leading | fields

    def text(self, text: str) -> str:
        clean = escape_unprintable(self._redactor.redact(text[:_MAX_SCANNED_LENGTH]))
        return clean if len(clean) <= MAX_TEXT_LENGTH else clean[:MAX_TEXT_LENGTH] + "…"

    def value(self, value: object, depth: int = 0) -> object:
        if value is None or isinstance(value, bool | int | float):
            return value
        if depth < _MAX_DEPTH:
            if isinstance(value, Mapping):
                items = list(value.items())[:_MAX_ITEMS]
                return {self.text(str(name)): self._redact_named_value(str(name), item, depth) for name, item in items}
            if isinstance(value, list | tuple | set | frozenset):
                return [self.value(item, depth + 1) for item in list(value)[:_MAX_ITEMS]]
        return self.text(value if isinstance(value, str) else _to_text(value))

    def _redact_named_value(self, name: str, value: object, depth: int) -> object:
        """Looks at value and name together, since only the name may give a secret away."""
        if isinstance(value, str) and MASK in self._redactor.redact(f"{name}: {value}"):
            return self.text(value) if MASK in self._redactor.redact(value) else MASK
        return self.value(value, depth + 1)


def _to_text(value: object) -> str:
    try:
        return str(value)
    except Exception:  # logging must not fail because of a broken __str__
        return f"<{type(value).__name__}>"


def _format_traceback(error: object) -> Iterator[str]:
    """Lines of a traceback, the first cause first, without local variables. error: as `exc_info`."""
    if error is True:
        error = sys.exc_info()
    if isinstance(error, tuple):
        error = error[1]
    chain: list[BaseException] = []
    while isinstance(error, BaseException) and error not in chain and len(chain) < _MAX_CAUSES:
        chain.append(error)
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    for number, exception in enumerate(reversed(chain)):
        if number:
            yield "and then"
        yield from _format_exception(exception)


def _format_exception(error: BaseException) -> Iterator[str]:
    frames = traceback.extract_tb(error.__traceback__)
    if len(frames) > _MAX_FRAMES:
        yield f"({len(frames) - _MAX_FRAMES} frames are left out)"
    for frame in frames[-_MAX_FRAMES:]:
        yield f"{frame.filename}:{frame.lineno} in {frame.name}: {frame.line or ''}"
    yield f"{type(error).__module__}.{type(error).__qualname__}: {_to_text(error)}".removeprefix("builtins.")
    if isinstance(error, BaseExceptionGroup):
        for inner in error.exceptions[:_MAX_CAUSES]:
            yield f"  within: {type(inner).__qualname__}: {_to_text(inner)}"


def _render_json(_logger: WrappedLogger, _name: str, event: EventDict) -> str:
    return json.dumps(event, default=_to_text)


def _render_console(_logger: WrappedLogger, _name: str, event: EventDict) -> str:
    others = {name: value for name, value in event.items() if name not in (*_LEADING_FIELDS, "exception")}
    values = "".join(f"  {name}={_quote(value)}" for name, value in others.items())
    trace = "".join(f"\n    {line}" for line in event.get("exception", ()))
    logger = f" {event['logger']}:" if "logger" in event else ""
    return (
        f"{event.get('time', '')} {event.get('level', '').upper():<8}{logger} {event.get('event', '')}{values}{trace}"
    )


def _quote(value: object) -> str:
    text = value if isinstance(value, str) else json.dumps(value, default=_to_text, ensure_ascii=False)
    return text if re.fullmatch(r"[\w.:/<>+\-]+", text) else json.dumps(text, ensure_ascii=False)


_SHARED_PROCESSORS: tuple[Callable[..., Any], ...] = (
    structlog.contextvars.merge_contextvars,
    structlog.stdlib.add_log_level,
    structlog.stdlib.add_logger_name,
    structlog.processors.TimeStamper(fmt="iso", utc=True, key="time"),
)


def build_formatter(log_format: LogFormat, secrets: Iterable[str] = ()) -> logging.Formatter:
    """Formatter for records of structlog and of the standard library."""
    return structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=list(_SHARED_PROCESSORS),
        processors=[
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            _EventSanitizer(Redactor(secrets)),
            _render_json if log_format == "json" else _render_console,
        ],
    )


# ------------------------------------------------------------------ output


class ConsoleHandler(logging.Handler):
    """Writes to the current `sys.stderr`, one write per event."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            sys.stderr.write(self.format(record) + "\n")
            sys.stderr.flush()
        except Exception:
            self.handleError(record)

    def handleError(self, record: logging.LogRecord) -> None:
        """Overridden because the standard library prints the record's unmasked arguments."""
        notice = logging.LogRecord(record.name, logging.ERROR, "", 0, "a line of the log could not be made", None, None)
        with contextlib.suppress(Exception):  # nowhere left to report it
            sys.stderr.write(self.format(notice) + "\n")


_HANDLER_NAME = "modelsync"
_LIBRARY_LOGGERS = ("gunicorn", "gunicorn.error", "gunicorn.access", "rq.worker", "rq.job", "werkzeug")
"""Loggers whose own handlers are removed."""


def configure(log_format: LogFormat, level: str, secrets: Iterable[str] = ()) -> None:
    """Route all logging of this process through one chain. May be called again.

    Only warnings and errors are written until `configure_process` is called, so that shell commands stay quiet.
    secrets: of this process; masked wherever they appear.
    """
    structlog.configure(
        processors=[
            *_SHARED_PROCESSORS,
            structlog.stdlib.PositionalArgumentsFormatter(),
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,
    )
    root = logging.getLogger()
    handler = _find_console_handler(root)
    if handler is None:
        handler = ConsoleHandler(logging.WARNING)
        handler.set_name(_HANDLER_NAME)
        root.addHandler(handler)
    handler.setFormatter(build_formatter(log_format, secrets))
    logging.getLogger("app").setLevel(level)
    for name in _LIBRARY_LOGGERS:
        library = logging.getLogger(name)
        library.handlers.clear()
        library.propagate = True


def configure_process(level: str | None = None) -> None:
    """For long-running processes: write everything that the level allows, as well as warnings and uncaught exceptions.

    level: overrides that of `configure`.
    """
    if handler := _find_console_handler(logging.getLogger()):
        handler.setLevel(logging.NOTSET)
    if level:
        logging.getLogger("app").setLevel(level)
    logging.captureWarnings(True)
    sys.excepthook = _log_crash
    threading.excepthook = lambda args: _log_crash(args.exc_type, args.exc_value, args.exc_traceback)


def _find_console_handler(root: logging.Logger) -> logging.Handler | None:
    """By name, not by class: gunicorn's workers inherit one that the master made from its own copy of this module."""
    return next((handler for handler in root.handlers if handler.get_name() == _HANDLER_NAME), None)


def _log_crash(kind: type[BaseException], error: BaseException | None, trace: Any) -> None:
    if not issubclass(kind, KeyboardInterrupt | SystemExit):
        logging.getLogger("app.crash").critical("nobody caught an error", exc_info=(kind, error or kind(), trace))
