"""An error at one line of one's choosing, and what an error report with locals would tell of it.

`Lines` notes which lines of the app a good run comes to, in all of its threads; `Tripwire` raises at one of them, the
first time that any thread comes there. `Reports` is what an operator's error reporter would have sent: every traceback
that is logged, that ends a job or a thread, with the locals of all its frames and of all its causes.
"""

from __future__ import annotations

import contextlib
import logging
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import CodeType, FrameType, TracebackType
from typing import Any

from app.config import ROOT

Place = tuple[str, int]
"""A file below the project's folder (or, of a library, its whole path), and a line."""


def _short(file: str) -> str:
    return str(Path(file).relative_to(ROOT)) if file.startswith(f"{ROOT}/app/") else file


@contextlib.contextmanager
def _tracing(trace: Callable[[FrameType, str, Any], Any]) -> Iterator[None]:
    before, before_threads = sys.gettrace(), threading.gettrace()
    threading.settrace(trace)
    sys.settrace(trace)
    try:
        yield
    finally:
        sys.settrace(before)
        threading.settrace(before_threads)  # type: ignore[arg-type]  # None where nobody traced


class Lines:
    """The lines that are come to, in the order in which they are first."""

    def __init__(self, *folders: str) -> None:
        self._folders = folders
        self._codes: dict[CodeType, bool] = {}
        self.found: dict[Place, None] = {}

    def __enter__(self) -> Lines:
        self._stack = contextlib.ExitStack()
        self._stack.enter_context(_tracing(self._call))
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def _call(self, frame: FrameType, _event: str, _arg: object) -> Any:
        code = frame.f_code
        if code not in self._codes:
            self._codes[code] = any(folder in code.co_filename for folder in self._folders)
        return self._line if self._codes[code] else None

    def _line(self, frame: FrameType, event: str, _arg: object) -> Any:
        if event == "line":
            self.found[_short(frame.f_code.co_filename), frame.f_lineno] = None
        return self._line


class Tripwire:
    """Raises `error` once, where any thread first comes to the line."""

    def __init__(self, place: Place, error: Callable[[], BaseException]) -> None:
        self.place, self._error = place, error
        self._file = str(ROOT / place[0])
        self._lock = threading.Lock()
        self.was_met = False

    def __enter__(self) -> Tripwire:
        self._stack = contextlib.ExitStack()
        self._stack.enter_context(_tracing(self._call))
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def _call(self, frame: FrameType, _event: str, _arg: object) -> Any:
        return self._line if frame.f_code.co_filename == self._file and not self.was_met else None

    def _line(self, frame: FrameType, event: str, _arg: object) -> Any:
        if event == "line" and frame.f_lineno == self.place[1]:
            with self._lock:
                is_first, self.was_met = not self.was_met, True
            if is_first:
                raise self._error()
        return self._line


class Reports(logging.Handler):
    """Error reports with locals, as text. It listens to the log, to threads that die, and to what it is handed."""

    def __init__(self) -> None:
        super().__init__()
        self.told: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        if isinstance(record.exc_info, tuple) and record.exc_info[1]:
            self.add(record.exc_info[1])

    def add(self, error: BaseException) -> None:
        self.told += list(with_locals(error))

    @contextlib.contextmanager
    def listening(self) -> Iterator[Reports]:
        root, hook = logging.getLogger(), threading.excepthook
        root.addHandler(self)
        threading.excepthook = lambda it: self.add(it.exc_value) if it.exc_value else None
        try:
            yield self
        finally:
            threading.excepthook = hook
            root.removeHandler(self)


def with_locals(error: BaseException) -> Iterator[str]:
    """Each frame of an error and of all that hangs on it, however a traceback would print it."""
    todo: list[BaseException] = [error]
    seen: set[int] = set()
    while todo:
        one = todo.pop()
        if id(one) in seen:
            continue
        seen.add(id(one))
        yield f"{type(one).__qualname__}: {one} {one.args!r} {_locals(vars(one))}"
        yield from _frames(one.__traceback__)
        todo += [link for link in (one.__cause__, one.__context__) if link]


def _frames(trace: TracebackType | None) -> Iterator[str]:
    while trace:
        code = trace.tb_frame.f_code
        # The test that raises it holds the keys, and is no part of the app.
        if "/tests/" not in code.co_filename:
            yield f"{code.co_filename}:{trace.tb_lineno} in {code.co_name} {_locals(trace.tb_frame.f_locals)}"
        trace = trace.tb_next


def _locals(values: dict[str, Any]) -> str:
    return " ".join(f"{name}={_shown(value)}" for name, value in values.items())


def _shown(value: object) -> str:
    try:
        return repr(value)
    except Exception as error:  # an error reporter goes on as well
        return f"<{type(error).__name__}>"


def sample(places: Sequence[Place], most: int) -> list[Place]:
    """So many of them at most, evenly spread over their order."""
    stride = -(-len(places) // most)
    return list(places[::stride])
