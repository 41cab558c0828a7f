"""Logs: one line for each event, as JSON or for the eye, through one chain, whoever speaks.

Our own code and every library speak by the standard library's `logging`; structlog adds what belongs to the request
or the job, and makes the line. Nobody is to log a secret in the first place. The second line of defence is here: what
looks like a key or a password, or is one of this process's own secrets, is hidden, in messages, values and
tracebacks. And no text can begin a line of its own or steer a terminal: what does not print is shown by its number.

This file stands alone, on structlog and the standard library: gunicorn's master loads it without the app (see
`serving.py`).
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
"""Characters of one value that a line shows at most."""
_MAX_SCANNED_LENGTH = 20_000
_MAX_DEPTH, _MAX_ITEMS = 4, 50
_MAX_FRAMES, _MAX_CAUSES = 40, 5
_LEADING_FIELDS = ("time", "level", "logger", "event")

# ------------------------------------------------------------------ what is hidden

_KEY_PATTERNS = re.compile(
    r"""
    -----BEGIN\ [A-Z ]*PRIVATE\ KEY-----.*?(?:-----END\ [A-Z ]*PRIVATE\ KEY-----|\Z)
    | (?<![A-Za-z0-9])(?:sk|pk|rk|gsk|xai|csk|cpk|rc|vck|fw|hf|r8|aimo|nvapi|pplx|tgp_v1|msk|gh[opsu]|github_pat|glpat)
      [-_][A-Za-z0-9_\-]{10,}                         # keys of providers, and our own tokens
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
    """Hides what looks like a secret, and each word of the secrets it was told.

    It keeps only digests of those: a process's memory holds no further copy of them because of its logs.
    """

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        self._salt = os.urandom(16)
        self._digests = frozenset(self._digest(word) for secret in secrets for word in _WORD.findall(secret))

    def hide(self, text: str) -> str:
        text = _KEY_PATTERNS.sub(MASK, text)
        text = _AUTH_SCHEMES.sub(rf"\1\2{MASK}", text)
        text = _SECRET_HEADERS.sub(rf"\1\2{MASK}", text)
        text = _URL_PASSWORD.sub(rf"\1:{MASK}@", text)
        text = _URL_SECRETS.sub(rf"\1{MASK}", text)
        text = _NAMED_SECRETS.sub(_mask_named_secret, text)
        return _WORD.sub(self._hide_word, text) if self._digests else text

    def _digest(self, word: str) -> bytes:
        return hashlib.blake2b(word.encode(), digest_size=16, key=self._salt).digest()

    def _hide_word(self, found: re.Match[str]) -> str:
        return MASK if self._digest(found[0]) in self._digests else found[0]


def _mask_named_secret(found: re.Match[str]) -> str:
    return found[0] if found[2].startswith(MASK[:-1]) else f"{found[1]}{MASK}"


def escape_unprintable(text: str) -> str:
    """The text in one line, with everything that does not print (line breaks, escapes, marks of direction, halves of
    characters) shown by its number."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


# ------------------------------------------------------------------ the chain


class _EventSanitizer:
    """structlog's processor that makes everything of an event fit to be shown."""

    def __init__(self, redactor: Redactor) -> None:
        self._redactor = redactor

    def __call__(self, _logger: WrappedLogger, _name: str, event: EventDict) -> EventDict:
        error = event.pop("exc_info", None)
        event.pop("stack_info", None)
        shown = {self.text(str(name)): self._named(str(name), value, 0) for name, value in event.items()}
        if lines := list(_format_traceback(error)):
            shown["exception"] = [self.text(line) for line in lines]
        first = {name: shown.pop(name) for name in _LEADING_FIELDS if name in shown}
        return first | shown

    def text(self, text: str) -> str:
        clean = escape_unprintable(self._redactor.hide(text[:_MAX_SCANNED_LENGTH]))
        return clean if len(clean) <= MAX_TEXT_LENGTH else clean[:MAX_TEXT_LENGTH] + "…"

    def value(self, value: object, depth: int = 0) -> object:
        if value is None or isinstance(value, bool | int | float):
            return value
        if depth < _MAX_DEPTH:
            if isinstance(value, Mapping):
                some = list(value.items())[:_MAX_ITEMS]
                # Together with its name, as a secret may be told by that alone.
                return {self.text(str(name)): self._named(str(name), one, depth) for name, one in some}
            if isinstance(value, list | tuple | set | frozenset):
                return [self.value(one, depth + 1) for one in list(value)[:_MAX_ITEMS]]
        return self.text(value if isinstance(value, str) else _to_text(value))

    def _named(self, name: str, value: object, depth: int) -> object:
        if isinstance(value, str) and MASK in self._redactor.hide(f"{name}: {value}"):
            return self.text(value) if MASK in self._redactor.hide(value) else MASK
        return self.value(value, depth + 1)


def _to_text(value: object) -> str:
    try:
        return str(value)
    except Exception:  # a log line must not fail over what it tells of
        return f"<{type(value).__name__}>"


def _format_traceback(error: object) -> Iterator[str]:
    """A traceback as lines, the first cause first, without the locals of any frame."""
    if error is True:
        error = sys.exc_info()
    if isinstance(error, tuple):
        error = error[1]
    chain: list[BaseException] = []
    while isinstance(error, BaseException) and error not in chain and len(chain) < _MAX_CAUSES:
        chain.append(error)
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    for number, one in enumerate(reversed(chain)):
        if number:
            yield "and then"
        yield from _format_exception(one)


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
    rest = {name: value for name, value in event.items() if name not in (*_LEADING_FIELDS, "exception")}
    values = "".join(f"  {name}={_quote(value)}" for name, value in rest.items())
    trace = "".join(f"\n    {line}" for line in event.get("exception", ()))
    who = f" {event['logger']}:" if "logger" in event else ""
    return f"{event.get('time', '')} {event.get('level', ''):<8}{who} {event.get('event', '')}{values}{trace}"


def _quote(value: object) -> str:
    text = value if isinstance(value, str) else json.dumps(value, default=_to_text, ensure_ascii=False)
    return text if re.fullmatch(r"[\w.:/<>+\-]+", text) else json.dumps(text, ensure_ascii=False)


_SHARED_PROCESSORS: tuple[Callable[..., Any], ...] = (
    structlog.contextvars.merge_contextvars,
    structlog.stdlib.add_log_level,
    structlog.stdlib.add_logger_name,
    structlog.processors.TimeStamper(fmt="iso", utc=True, key="time"),
)


def build_formatter(form: LogFormat, secrets: Iterable[str] = ()) -> logging.Formatter:
    """What makes lines of records, ours and the libraries'."""
    return structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=list(_SHARED_PROCESSORS),
        processors=[
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            _EventSanitizer(Redactor(secrets)),
            _render_json if form == "json" else _render_console,
        ],
    )


# ------------------------------------------------------------------ where it goes


class ConsoleHandler(logging.Handler):
    """Standard error as it is at that moment, each event by one write."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            sys.stderr.write(self.format(record) + "\n")
            sys.stderr.flush()
        except Exception:
            self.handleError(record)

    def handleError(self, record: logging.LogRecord) -> None:
        """The standard library would print the values that did not fit, which nothing has cleaned."""
        place = logging.LogRecord(record.name, logging.ERROR, "", 0, "a line of the log could not be made", None, None)
        with contextlib.suppress(Exception):  # there is nowhere to say it
            sys.stderr.write(self.format(place) + "\n")


_HANDLER_NAME = "modelsync"
_LIBRARY_LOGGERS = ("gunicorn", "gunicorn.error", "gunicorn.access", "rq.worker", "rq.job", "werkzeug")


def configure(form: LogFormat, level: str, secrets: Iterable[str] = ()) -> None:
    """Bring everything that is logged in this process into one chain; may be called again.

    Until `speak` is called only warnings and worse are written: a command of the shell is not to be chatty.
    secrets: this process's own, which are hidden wherever they come up.
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
    console = _find_console_handler(root)
    if console is None:
        console = ConsoleHandler(logging.WARNING)
        console.set_name(_HANDLER_NAME)
        root.addHandler(console)
    console.setFormatter(build_formatter(form, secrets))
    logging.getLogger("app").setLevel(level)
    for name in _LIBRARY_LOGGERS:
        library = logging.getLogger(name)
        library.handlers.clear()
        library.propagate = True


def configure_process(level: str | None = None) -> None:
    """This process serves: whatever its level lets through is written, and also how it ends, should it fail."""
    if console := _find_console_handler(logging.getLogger()):
        console.setLevel(logging.NOTSET)
    if level:
        logging.getLogger("app").setLevel(level)
    logging.captureWarnings(True)
    sys.excepthook = _log_crash
    threading.excepthook = lambda it: _log_crash(it.exc_type, it.exc_value, it.exc_traceback)


def _find_console_handler(root: logging.Logger) -> logging.Handler | None:
    """Found by its name: gunicorn's master made it by another copy of this file, and its workers inherit it."""
    return next((handler for handler in root.handlers if handler.get_name() == _HANDLER_NAME), None)


def _log_crash(kind: type[BaseException], error: BaseException | None, trace: Any) -> None:
    if not issubclass(kind, KeyboardInterrupt | SystemExit):
        logging.getLogger("app.crash").critical("nobody caught an error", exc_info=(kind, error or kind(), trace))
