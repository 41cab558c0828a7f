"""Input and output shared by all commands: JSON lines for programs, tables and progress bars for people."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import nullcontext
from typing import Any

import click
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
)
from rich.table import Table
from rich.text import Text

_PIPE_WIDTH = 2_000


def json_option(help_text: str = "One object a line.") -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    return click.option("--json", "as_json", is_flag=True, help=help_text)


def print_rows(rows: Sequence[Mapping[str, Any]], as_json: bool) -> None:
    print_json(rows) if as_json else print_table(rows)


def print_json(rows: Iterable[Mapping[str, Any]]) -> None:
    """One object a line. Non-ASCII characters are escaped, so that provider texts cannot control the terminal."""
    for row in rows:
        click.echo(json.dumps(row))


def print_table(rows: Sequence[Mapping[str, Any]]) -> None:
    if not rows:
        click.echo("Nothing to show.")
        return
    table = Table(box=None, pad_edge=False)
    for name in rows[0]:
        table.add_column(name.replace("_", " "), overflow="fold")  # long ids wrap instead of being truncated
    for row in rows:
        table.add_row(*(Text(_cell_text(value)) for value in row.values()))
    console = Console()
    if not console.is_terminal:
        console.width = _PIPE_WIDTH  # one line per row in pipes and files, for grep
    console.print(table)


def printable(text: str) -> str:
    """The text with non-printable characters replaced, so that it cannot control the terminal."""
    return "".join(c if c.isprintable() else "�" for c in text)


def format_ids(ids: Sequence[int]) -> str:
    """The first ten ids: "1, 2, 3 …"."""
    return ", ".join(map(str, ids[:10])) + (" …" if len(ids) > 10 else "")


def progress_bar(console: Console, quiet: bool, *, counts: bool = False) -> nullcontext[None] | Progress:
    """A progress bar on a terminal; elsewhere a context that yields None. counts: show done/total, not a spinner."""
    if quiet or not console.is_terminal:
        return nullcontext()
    columns: list[ProgressColumn] = [TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn()]
    if counts:
        columns.insert(2, MofNCompleteColumn())
    else:
        columns.insert(0, SpinnerColumn())
    return Progress(*columns, console=console, transient=True)


def read_secret(prompt: str, *, confirm: bool = False) -> str:
    """Read from standard input; prompts without echo on a terminal."""
    if sys.stdin.isatty():
        return str(click.prompt(prompt, hide_input=True, confirmation_prompt=confirm)).strip()
    return sys.stdin.readline().strip()


def _cell_text(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "" if value is None else printable(str(value))
