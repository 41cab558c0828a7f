"""The manual at /help: its pages, their search, and the page that belongs to an endpoint."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import click
from flask import Blueprint, abort, current_app, render_template, url_for
from flask.cli import FlaskGroup, ScriptInfo
from htmx_flask import request
from markupsafe import Markup, escape

from app.help.recipes import load_recipes
from app.providers import PROVIDERS
from app.variables import GROUPS, load_variables

blueprint = Blueprint("help", __name__)

_MAX_RESULTS, _MAX_RESULTS_PER_PAGE = 15, 3
_EXCERPT_BEFORE, _EXCERPT_CHARS = 60, 200
_HEADING = re.compile(r'<h2 id="([^"]+)">(.*?)</h2>', re.DOTALL)
_PROVIDER_CHOICE = re.compile(rf"[\[{{]{next(iter(PROVIDERS))}\|[^\]}}]*[\]}}]")
_OTHER_COMMANDS = frozenset({"db", "limiter"})
"""Commands of Flask extensions."""


@dataclass(frozen=True, slots=True)
class HelpPage:
    name: str
    """`/help/<name>` and `templates/help/<name>.html`."""
    title: str
    summary: str


MANUAL: Mapping[str, tuple[HelpPage, ...]] = {
    "Use Modelsync": (
        HelpPage("start", "Get started", "Your first sync, the demo, and the words used here."),
        HelpPage("keys", "API keys", "Paste keys, add your own servers, and what happens to a key you save."),
        HelpPage("syncing", "Syncing", "What a sync does, what its outcomes mean, and when it happens."),
        HelpPage("models", "Models", "Find, star, compare and use the models your keys can use."),
        HelpPage("changes", "Changes and feed", "New, changed, removed and returned models, also in your feed reader."),
        HelpPage("history", "History", "Every sync, every list, and the difference between two dates."),
        HelpPage("notifications", "Notifications", "Choose what you hear about, in the app and by email."),
        HelpPage("settings", "Account and settings", "Sign-in, two-step sign-in, devices, theme and your data."),
        HelpPage("api", "API", "Tokens, endpoints, and formats that other tools already read."),
        HelpPage("providers", "Providers", "Every provider: how its keys look and how often it is synced."),
        HelpPage("troubleshooting", "Troubleshooting", "Failing keys, missing models, and what error messages mean."),
    ),
    "Run Modelsync": (
        HelpPage("deploy", "Deploy", "Files for systemd, Docker, nginx, Caddy and cron."),
        HelpPage("operate", "Operate", "Production checklist, several machines, email, sign-in, logs, monitoring."),
        HelpPage("configuration", "Configuration", "Every setting, its default and its meaning."),
        HelpPage("cli", "Command line", "Every command and its options."),
        HelpPage("backup", "Backups and vault keys", "Create, verify and restore backups; rotate the vault key."),
        HelpPage("upgrade", "Updates", "Update with or without downtime; install with hashes."),
        HelpPage("security", "Security", "What protects API keys, what does not, and what to do after a leak."),
    ),
    "Administer Modelsync": (
        HelpPage("admin", "Administration", "Users, providers, dry runs, workers and the audit log."),
        HelpPage("catalog", "Catalog and overrides", "How models are recognised, and how to correct facts about them."),
    ),
}
PAGES = {page.name: page for pages in MANUAL.values() for page in pages}
_TOPICS: Mapping[str, str] = {
    "keys": "keys",
    "key_import": "keys",
    "sync": "syncing",
    "models": "models",
    "changes": "changes",
    "feeds": "changes",
    "history": "history",
    "settings": "settings",
    "accounts": "settings",
    "password_reset": "settings",
    "second_factor": "settings",
    "oidc": "settings",
    "notifications": "notifications",
    "tokens": "api",
    "openapi": "api",
    "admin": "admin",
    "admin_providers": "admin",
    "admin_sync": "admin",
    "admin_users": "admin",
    "admin_workers": "admin",
    "catalog": "catalog",
    "demo": "start",
    "pages": "start",
}
"""Blueprint → name of the page that explains it."""


@dataclass(frozen=True, slots=True)
class HelpSection:
    """The plain text under one heading of a page; anchor and heading are empty for the text above the first."""

    page: HelpPage
    anchor: str
    heading: str
    text: str


@dataclass(frozen=True, slots=True)
class SearchResult:
    page: HelpPage
    anchor: str
    heading: str
    excerpt: Markup


@dataclass(frozen=True, slots=True)
class CommandHelp:
    path: str
    """`users add`."""
    help: Markup
    usage: str
    options: tuple[tuple[str, Markup], ...]
    is_group: bool

    @property
    def id(self) -> str:
        return self.path.replace(" ", "-")


@blueprint.get("/help")
def index() -> str:
    query = request.args.get("q", "").strip()[:200]
    results = search(query) if query else []
    template = "help/_results.html" if request.htmx else "help/layout.html"
    return render_template(template, page=None, manual=MANUAL, query=query, results=results)


@blueprint.get("/help/<name>")
def page(name: str) -> str:
    if name not in PAGES:
        abort(404)
    sections = [section for section in _sections() if section.page.name == name and section.anchor]
    if name == "cli":  # groups and commands outside of one
        sections = [section for section in sections if section.heading.count(" ") == 1]
    template = f"help/{name}.html"
    return render_template(template, page=PAGES[name], manual=MANUAL, sections=sections, **_values())


@blueprint.app_template_global()
def help_url() -> str:
    """Address of the manual's page about the current endpoint."""
    name = _TOPICS.get(request.blueprint or "")
    return url_for("help.page", name=name) if name else url_for("help.index")


def search(query: str) -> list[SearchResult]:
    """Sections that contain every word of the query, those whose title or heading has them first."""
    words = [word.lower() for word in re.findall(r"[\w./<>-]+", query)]
    words = [word.removesuffix("s") if len(word) > 3 else word for word in words]
    scored = [(_score(section, words), section) for section in _sections()] if words else []
    scored = sorted((one for one in scored if one[0]), key=lambda one: -one[0])
    results: list[SearchResult] = []
    for _, section in scored:
        if sum(result.page == section.page for result in results) < _MAX_RESULTS_PER_PAGE:
            excerpt = _excerpt(section.text, words)
            results.append(SearchResult(section.page, section.anchor, section.heading, excerpt))
    return results[:_MAX_RESULTS]


def _score(section: HelpSection, words: list[str]) -> int:
    title, heading, text = section.page.title.lower(), section.heading.lower(), section.text.lower()
    if not all(word in title or word in heading or word in text for word in words):
        return 0
    return sum(10 * (word in heading) + 5 * (word in title) + min(text.count(word), 4) for word in words)


def _excerpt(text: str, words: list[str]) -> Markup:
    """The text around the first match, with all matches marked."""
    pattern = re.compile("|".join(map(re.escape, words)), re.IGNORECASE)
    match = pattern.search(text)
    start = max(0, (match.start() if match else 0) - _EXCERPT_BEFORE)
    start = text.rfind(" ", 0, start) + 1 if start else 0
    end = start + _EXCERPT_CHARS
    part = text[start:end] if end >= len(text) else text[start:end].rsplit(" ", 1)[0] + " …"
    excerpt, last = escape("… " if start else ""), 0
    for match in pattern.finditer(part):
        excerpt += escape(part[last : match.start()]) + Markup("<mark>{}</mark>").format(match[0])
        last = match.end()
    return excerpt + escape(part[last:])


@functools.cache
def _sections() -> tuple[HelpSection, ...]:
    """Every section of the manual; the pages do not depend on who reads them."""
    return tuple(section for page in PAGES.values() for section in _split(page, _render(page.name)))


def _render(name: str) -> str:
    template = current_app.jinja_env.get_template(f"help/{name}.html")
    context = template.new_context({"page": PAGES[name], **_values()})
    return "".join(template.blocks["help"](context))


def _split(page: HelpPage, html: str) -> Iterator[HelpSection]:
    first, *rest = _HEADING.split(html)
    yield HelpSection(page, "", "", f"{page.summary} {_strip_tags(first)}")
    for anchor, heading, text in zip(rest[::3], rest[1::3], rest[2::3], strict=True):
        yield HelpSection(page, anchor, _strip_tags(heading), _strip_tags(text))


def _strip_tags(html: str) -> str:
    return Markup(html.replace("><", "> <")).striptags()  # noqa: S704  # rendered by a template


def _values() -> dict[str, Any]:
    """What the generated pages show."""
    return {
        "providers": PROVIDERS,
        "commands": _commands(),
        "settings": load_variables(),
        "setting_groups": GROUPS,
        "mark_code": _mark_code,
        "recipes": load_recipes(),
    }


@functools.cache
def _commands() -> tuple[CommandHelp, ...]:
    """Every command of Modelsync, groups before their commands."""
    app = current_app._get_current_object()  # type: ignore[attr-defined]
    group = FlaskGroup(add_default_commands=False, set_debug_flag=False)
    context = click.Context(group, info_name="flask", obj=ScriptInfo(create_app=lambda: app, set_debug_flag=False))
    names = [name for name in group.list_commands(context) if name not in _OTHER_COMMANDS]
    commands = [(name, group.get_command(context, name)) for name in names]
    return tuple(entry for name, command in commands if command for entry in _describe(command, name))


def _describe(command: click.Command, path: str) -> Iterator[CommandHelp]:
    context = click.Context(command, info_name=path)
    options = [one for one in command.params if isinstance(one, click.Option)]
    records = [record for one in options if (record := one.get_help_record(context))]
    pieces = command.collect_usage_pieces(context)[0 if options else 1 :]
    yield CommandHelp(
        path=path,
        help=_mark_code(command.help or ""),
        usage=_shorten(" ".join([path, *pieces])),
        options=tuple((_shorten(names), _mark_code(text)) for names, text in records),
        is_group=isinstance(command, click.Group),
    )
    if isinstance(command, click.Group):
        for name in sorted(command.commands):
            yield from _describe(command.commands[name], f"{path} {name}")


def _shorten(usage: str) -> str:
    """Without the list of all providers and the words for a range of numbers."""
    return re.sub(r"(INTEGER|FLOAT) RANGE", "N", _PROVIDER_CHOICE.sub("PROVIDER", usage))


def _mark_code(text: str) -> Markup:
    """Text as HTML, with the parts between backticks as code."""
    return Markup(re.sub(r"`([^`]+)`", r"<code>\1</code>", str(escape(text))))  # noqa: S704  # escaped first
