"""The table of the owner's documents against the code: what it names is there, and what is missing says why."""

from __future__ import annotations

import re
from collections.abc import Iterator

import click
import pytest
from flask import Flask
from sqlalchemy import inspect, text

from app import config
from app.cli.up import up
from app.extensions import db
from app.web.coverage import ITEMS, KINDS, STATES, Item, Place
from tests.conftest import Person, both_databases
from tests.test_readme import EXAMPLE, variables_of_the_code
from tests.web.plainly import words

DOCUMENTS = {
    "model-auto-sync-system.md",
    "model-catalog-sync.md",
    "model-catalog-synchronization-system.md",
    "provider-and-model-sync-quick-start.md",
    "provider-model-synchronization-guide.md",
}
# What is missing, each for a reason that its row tells. Nothing may join them unseen.
MISSING = {
    "Anthropic, future: test each model with a small request",
    "Model testing with a sample request",
    "1. Supported capabilities of the provider",
    "Webhooks when providers publish models",
    "Registry entry: priority (“fast”)",
    "Webhook notifications",
}


def places(kind: str) -> list[str]:
    return sorted({place.name for item in ITEMS for place in item.places if place.kind == kind})


def every(kind: str) -> pytest.MarkDecorator:
    assert places(kind)
    return pytest.mark.parametrize("name", places(kind))


def command_of(app: Flask, name: str) -> tuple[click.Command, list[str]]:
    """The command, and the options that the table names of it."""
    found: click.Command = click.Group(commands={**app.cli.commands, "up": up})
    parts = name.split()
    for number, word in enumerate(parts):
        if word.startswith("-"):
            return found, parts[number:]
        assert isinstance(found, click.Group) and word in found.commands, f"there is no `flask {name}`"
        found = found.commands[word]
    return found, []


# ------------------------------------------------------------------ what is named is there


@every("route")
def test_a_route_exists(app: Flask, name: str) -> None:
    assert name in {rule.endpoint for rule in app.url_map.iter_rules()}


@every("command")
def test_a_command_and_its_options_exist(app: Flask, name: str) -> None:
    command, options = command_of(app, name)
    known = {option for one in command.params for option in (*one.opts, *one.secondary_opts)}
    assert set(options) <= known, f"`flask {name}`"
    assert not isinstance(command, click.Group)


@every("setting")
def test_a_setting_is_read_and_in_the_example(name: str) -> None:
    assert name in variables_of_the_code()
    assert re.search(rf"^{name}=", EXAMPLE, re.MULTILINE)


@both_databases
def test_every_table_and_column_exists(app: Flask) -> None:
    inspector = inspect(db.engine)
    tables = {*inspector.get_table_names(), *inspector.get_view_names()}
    assert set(places("table")) <= tables
    named = [name.split(".") for name in places("column")]
    assert {table for table, _ in named} <= tables
    columns = {table: {one["name"] for one in inspector.get_columns(table)} for table, _ in named}
    assert not [f"{table}.{column}" for table, column in named if column not in columns[table]]


@every("file")
def test_a_file_exists(name: str) -> None:
    assert (config.ROOT / name).is_file()


# ------------------------------------------------------------------ the table is whole in itself


def test_the_table_is_of_the_five_documents_and_long() -> None:
    assert {item.document for item in ITEMS} == DOCUMENTS
    for document in DOCUMENTS:
        of_it = [item for item in ITEMS if item.document == document]
        assert len(of_it) >= 35, document
        assert len({item.section for item in of_it}) >= 8, document
    assert len(ITEMS) >= 260


def test_no_item_stands_twice_in_a_section() -> None:
    seen = [(item.document, item.section, item.what) for item in ITEMS]
    twice = {one for one in seen if seen.count(one) > 1}
    assert twice <= {("model-catalog-sync.md", "Tables", "Primary key")}  # of each of two tables


@pytest.mark.parametrize("item", ITEMS, ids=lambda item: f"{item.section}-{item.what}"[:60])
def test_a_row_says_where_or_why_not(item: Item) -> None:
    assert item.what and item.section and item.state in STATES
    assert all(place.kind in KINDS and place.name for place in item.places)
    assert len(set(item.places)) == len(item.places)
    assert bool(item.places) == (item.state != "missing")
    if item.state in ("missing", "otherwise"):
        assert len(item.note) > 15
    assert not re.search(r"/work|shared/|TODO", item.note)


def test_only_these_are_missing() -> None:
    assert {item.what for item in ITEMS if item.state == "missing"} == MISSING


@pytest.mark.parametrize(
    ("place", "is_named"),
    [
        (Place("route", name), True)
        for name in (
            "models_sync.start",
            "models_sync.last_sync",
            "models_sync.cron",
            "model_sync.providers",
            "model_sync.sync_one",
            "model_sync.sync_all",
            "model_sync.status",
            "stats.models",
            "stats.providers",
            "health.health",
        )
    ],
)
def test_every_endpoint_of_the_documents_has_its_row(place: Place, is_named: bool) -> None:
    assert any(place in item.places for item in ITEMS) is is_named


# ------------------------------------------------------------------ the documents' own queries


QUERIES = {
    "recent syncs of a user": """
        SELECT synced_at, total_new_models, sync_results FROM model_sync_history
        WHERE user_id = 1 ORDER BY synced_at DESC LIMIT 10;""",
    "models with provider info": """
        SELECT p.slug as provider, m.model_name, m.provider_model_id as api_name, m.context_length,
            ROUND(m.pricing_prompt::numeric * 1000000, 2) as price_per_1m_input_tokens,
            ROUND(m.pricing_completion::numeric * 1000000, 2) as price_per_1m_output_tokens
        FROM models m JOIN providers p ON m.provider_id = p.id
        WHERE p.slug = 'openrouter' AND m.is_active = true ORDER BY m.model_name LIMIT 10;""",
    "by name": """
        SELECT model_name, provider_model_id as api_name FROM models
        WHERE model_name ILIKE '%gpt-4%' AND is_active = true;""",
    "by capability": """
        SELECT model_name, provider_model_id as api_name FROM models
        WHERE supports_vision = true AND is_active = true;""",
    "statistics by provider": """
        SELECT p.name as provider, COUNT(m.id) as total_models, COUNT(CASE WHEN m.is_active THEN 1 END) as active_models
        FROM providers p LEFT JOIN models m ON p.id = m.provider_id
        GROUP BY p.id, p.name ORDER BY total_models DESC;""",
    "inactive models": "SELECT COUNT(*) FROM models WHERE is_active = false;",
    "activate": "UPDATE models SET is_active = true WHERE provider_id = 1;",
    "count providers": "SELECT COUNT(*) FROM providers;",
    "count models": "SELECT COUNT(*) FROM models;",
    "recent syncs": """
        SELECT provider_id, COUNT(*) as model_count, MAX(updated_at) as last_sync FROM models GROUP BY provider_id;""",
    "models per provider": """
        SELECT p.name, COUNT(m.id) as model_count FROM providers p LEFT JOIN models m ON p.id = m.provider_id
        GROUP BY p.id, p.name ORDER BY model_count DESC;""",
    "recent updates": """
        SELECT p.name, m.model_name, m.updated_at FROM models m JOIN providers p ON m.provider_id = p.id
        ORDER BY m.updated_at DESC LIMIT 10;""",
    "stale models": """
        SELECT p.name, COUNT(m.id) as stale_models FROM models m JOIN providers p ON m.provider_id = p.id
        WHERE m.updated_at < NOW() - INTERVAL '12 hours' GROUP BY p.name;""",
    "one provider": "SELECT * FROM providers WHERE slug = 'my-provider';",
}


@both_databases
def test_the_documents_own_queries_run(app: Flask) -> None:
    """As PostgreSQL has them; SQLite takes those that speak no dialect."""
    for name, query in QUERIES.items():
        if db.engine.dialect.name == "postgresql" or not re.search("::|ILIKE|INTERVAL", query):
            db.session.execute(text(query.replace("::", r"\:\:"))), name
    db.session.rollback()


# ------------------------------------------------------------------ the page


def rows(page: str) -> Iterator[str]:
    yield from re.findall(r"<tr>\s*<th scope=\"row\".*?</tr>", page.partition("</main>")[0], re.DOTALL)


def test_the_page_shows_every_row_with_links_to_what_can_be_opened(carol: Person) -> None:
    page = carol.sign_in().client.get("/admin/about").text
    assert len(list(rows(page))) == len(ITEMS)
    for document in DOCUMENTS:
        assert document in page
    told = words(page).replace(" ", "")
    for item in ITEMS[::10]:
        assert re.sub("[` ]", "", item.what) in told
    linked = set(re.findall(r'<td[^>]*>\s*.*?<a href="([^"]+)"', page))
    assert {"/models", "/admin/history", "/health"} <= linked
    for href in linked:
        assert carol.client.get(href, buffered=True).status_code in (200, 303, 404, 503), href


def test_nobody_but_an_admin_sees_it(alice: Person) -> None:
    assert alice.client.get("/admin/about").status_code == 303
    assert alice.sign_in().client.get("/admin/about").status_code == 403
