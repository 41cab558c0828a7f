"""JSON lines for programs, a table for people; both survive any text a provider sends."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

_WIDEST = 2_000


def print_json(rows: Iterable[Mapping[str, Any]]) -> None:
    """One object a line. Everything beyond ASCII is escaped, so that no terminal is told what to do."""
    for row in rows:
        click.echo(json.dumps(row))


def print_table(rows: Sequence[Mapping[str, Any]]) -> None:
    if not rows:
        click.echo("Nothing to show.")
        return
    table = Table(box=None, pad_edge=False)
    for name in rows[0]:
        table.add_column(name.replace("_", " "), overflow="fold")  # a long id is broken, never cut
    for row in rows:
        table.add_row(*(Text(_shown(value)) for value in row.values()))
    console = Console()
    if not console.is_terminal:
        console.width = _WIDEST  # in a pipe or a file a row is a line, however long: grep finds it whole
    console.print(table)


def _shown(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "" if value is None else "".join(c if c.isprintable() else "�" for c in str(value))
