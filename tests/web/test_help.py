"""The manual at /help: every page opens for strangers, every link resolves, the search finds, nothing is left out."""

from __future__ import annotations

import re
from collections.abc import Iterator
from urllib.parse import urljoin, urlsplit

import click
import pytest
from flask import Flask

from app.cli.up import up
from app.config import ROOT
from app.help.recipes import load_recipes
from app.providers import PROVIDERS
from app.sync.http import errors
from app.variables import load_variables
from app.web import help as manual
from app.web.help import MANUAL, PAGES
from tests.conftest import Person
from tests.visits import VISITS
from tests.web.html_rules import find_errors

every_page = pytest.mark.parametrize("name", PAGES)
OWN_COMMANDS_ONLY = {"db", "limiter"}


VARIABLES = [one for group in load_variables().values() for one in group]


def read(app: Flask, path: str, **headers: str) -> str:
    response = app.test_client().get(path, headers=headers)
    assert response.status_code == 200, path
    return str(response.text)


def links(html: str) -> list[str]:
    article = html.split("<article", 1)[1].split("</article>", 1)[0]
    return [link.replace("&amp;", "&") for link in re.findall(r'<a href="([^"]+)"', article)]


@every_page
def test_a_page_opens_without_signing_in_and_is_valid(app: Flask, name: str) -> None:
    html = read(app, f"/help/{name}")
    assert find_errors(html) == []
    assert f"<h1>{PAGES[name].title}</h1>" in html


def test_the_overview_lists_every_page(app: Flask) -> None:
    html = read(app, "/help")
    assert find_errors(html) == []
    assert all(f'href="/help/{page.name}"' in html and page.summary in html for page in PAGES.values())
    assert sum(map(len, MANUAL.values())) == len(PAGES)


def test_every_template_is_a_page_and_no_other_page_exists(app: Flask) -> None:
    files = {path.stem for path in (ROOT / "templates" / "help").glob("[!_]*.html")} - {"layout"}
    assert files == PAGES.keys()
    assert app.test_client().get("/help/nothing").status_code == 404
    assert app.test_client().get("/help/layout").status_code == 404


def test_every_link_of_the_manual_resolves(app: Flask) -> None:
    pages = {f"/help/{name}": read(app, f"/help/{name}") for name in PAGES} | {"/help": read(app, "/help")}
    adapter = app.url_map.bind("localhost")
    for path, html in pages.items():
        for link in links(html):
            target = urlsplit(urljoin(f"http://localhost{path}", link))
            if target.netloc != "localhost":
                assert path == "/help/providers" and target.scheme == "https", link  # the manual works offline
                continue
            assert adapter.match(target.path, method="GET"), link
            if target.path in pages and target.fragment:
                assert f'id="{target.fragment}"' in pages[target.path], f"{path} → {link}"


# ------------------------------------------------------------------ search


@pytest.mark.parametrize(
    ("query", "page", "anchor"),
    [
        ("restore backup", "backup", "restore"),
        ("two-step", "settings", "two-step"),
        ("nginx", "deploy", "proxy"),
        ("CRON_SECRET", "configuration", "secrets"),
        ("users add", "cli", "users-add"),
        ("groq", "providers", "groq"),
        ("quota_exhausted", "troubleshooting", "keys"),
        ("feed reader", "changes", "feed"),
        ("Backups", "backup", "create"),
    ],
)
def test_the_search_finds(app: Flask, query: str, page: str, anchor: str) -> None:
    with app.test_request_context():
        results = manual.search(query)
    assert (page, anchor) in {(result.page.name, result.anchor) for result in results[:5]}


def test_a_result_links_to_its_section_and_marks_the_words(app: Flask) -> None:
    html = read(app, "/help?q=recovery+codes")
    assert find_errors(html) == []
    assert 'href="/help/settings#two-step"' in html and "<mark>" in html


def test_a_search_that_finds_nothing_says_so(app: Flask) -> None:
    html = read(app, "/help?q=xyzzy")
    assert "No results for “xyzzy”" in html and find_errors(html) == []
    assert "No results" not in read(app, "/help?q=+")
    assert "No results" in read(app, "/help?q=%3F%21")


def test_a_query_is_escaped(app: Flask) -> None:
    assert "<b>" not in read(app, "/help?q=%3Cb%3Ekeys")


def test_htmx_gets_the_results_alone(app: Flask) -> None:
    piece = read(app, "/help?q=backup", **{"HX-Request": "true"})
    assert piece.lstrip().startswith('<section id="help-results"') and "<html" not in piece
    assert find_errors(piece, container="div") == []
    assert piece.strip() in read(app, "/help?q=backup")


# ------------------------------------------------------------------ generated pages


def commands(group: dict[str, click.Command], path: str = "") -> Iterator[tuple[str, click.Command]]:
    for name, command in group.items():
        yield f"{path}{name}", command
        if isinstance(command, click.Group):
            yield from commands(command.commands, f"{path}{name} ")


def test_every_command_is_there_with_its_options(app: Flask) -> None:
    html = read(app, "/help/cli")
    ours = {name: command for name, command in app.cli.commands.items() if name not in OWN_COMMANDS_ONLY}
    for path, command in commands({"up": up, **ours}):
        assert f'<h2 id="{path.replace(" ", "-")}"><code>flask {path}</code></h2>' in html
        section = html.split(f"<code>flask {path}</code></h2>", 1)[1].split("<h2", 1)[0]
        for option in command.params:
            if isinstance(option, click.Option) and not isinstance(command, click.Group):
                assert option.opts[0] in section, (path, option.opts)
    assert "openai|anthropic" not in html  # a list of all providers says less than their page


def test_commands_named_in_the_manual_exist(app: Flask) -> None:
    known = {path for path, _ in commands({"up": up, **app.cli.commands})}
    for name in PAGES.keys() - {"cli"}:
        for words in re.findall(r"\bflask ((?:[a-z][a-z-]+ ?)+)", read(app, f"/help/{name}")):
            first, *rest = words.split()
            assert first in known, f"{name}: flask {words}"
            is_group = any(path.startswith(f"{first} ") for path in known)
            assert not is_group or not rest or f"{first} {rest[0]}" in known, f"{name}: flask {words}"


def test_every_setting_is_there(app: Flask) -> None:
    html = read(app, "/help/configuration")
    assert all(f'id="{variable.name}"' in html for variable in VARIABLES)


def test_every_provider_is_there(app: Flask) -> None:
    html = read(app, "/help/providers")
    assert all(f'<h2 id="{slug}">' in html for slug in PROVIDERS)


def test_every_deployment_file_is_there(app: Flask) -> None:
    html = read(app, "/help/deploy")
    assert all(f"<summary><code>{name}</code>" in html for name in load_recipes())


def test_every_reason_of_a_failure_is_explained(app: Flask) -> None:
    html = read(app, "/help/troubleshooting")
    classes = [cls for cls in vars(errors).values() if isinstance(cls, type) and issubclass(cls, errors.SyncError)]
    codes = {cls.code for cls in classes if "code" in vars(cls)}
    assert codes and all(f'id="{code}"' in html for code in codes), codes


# ------------------------------------------------------------------ the "?" of every page


def test_every_page_links_to_the_manual_and_explains_itself(app: Flask, alice: Person) -> None:
    alice.sign_in()
    for path, name in (("/profile", "keys"), ("/models", "models"), ("/changes", "changes"), ("/settings", "settings")):
        html = alice.client.get(path).text
        assert f'class="help-link" href="/help/{name}"' in html


def test_every_blueprint_with_pages_has_a_page_of_the_manual(app: Flask) -> None:
    blueprints = {visit.endpoint.partition(".")[0] for visit in VISITS if visit.endpoint}
    assert blueprints - {"help", "design"} <= manual._TOPICS.keys()
    assert manual._TOPICS.keys() <= app.blueprints.keys() | {"demo"}
    assert set(manual._TOPICS.values()) <= PAGES.keys()


def test_an_error_page_links_to_the_manual(app: Flask) -> None:
    assert 'class="help-link" href="/help"' in app.test_client().get("/nothing").text
