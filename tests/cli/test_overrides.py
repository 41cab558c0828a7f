"""`flask overrides`: set, list, remove, import and export; failures as one sentence."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path

import pytest
from flask import Flask
from sqlalchemy import select

from app import clock
from app.catalog.overrides import build_override, to_json
from app.demo.simulator import Simulator
from app.extensions import db
from app.store import audit, overrides
from app.store.schema.tables import ListedModelRow
from tests.catalog.test_overrides import DIFFERENT, EMPTY, MANUAL
from tests.cli.shell import Run, read_output, run
from tests.conftest import Person, both_databases
from tests.sync.test_run import named

__all__ = ["run"]  # a fixture
REAL = MANUAL.replace("custom-provider", "openai").replace("special-model", "gpt-4o")


def load_listed(model_id: str) -> ListedModelRow:
    row = db.session.scalars(select(ListedModelRow).where(ListedModelRow.provider_model_id == model_id)).one()
    db.session.refresh(row)
    return row


def test_what_is_set_is_shown_exported_and_removed(run: Run) -> None:
    done = run(
        *("overrides", "set", "groq", "gpt-4o", "--reason", " Negotiated "),
        *("--input-price", "1.10", "--output-price", "1e-7", "--cache-read-price", "0", "--cache-write-price", "0.1"),
        *("--context-window", "32000", "--max-output-tokens", "4096"),
        *("--capability", "tools=yes", "--capability", "vision=no"),
    )
    assert read_output(done) == (
        "openai/gpt-4o at groq (priority 100): context length 32000, max output tokens 4096, tools yes, vision no, "
        "input price 1.10 USD, output price 1E-7 USD, cache read price 0 USD, cache write price 0.1 USD."
    )
    (stored,) = overrides.export()
    assert (stored.reason, stored.priority) == ("Negotiated", 100)
    assert stored.facts["input_per_million"] == Decimal("1.10")
    assert "openai/gpt-4o" in read_output(run("overrides", "list")) and "Negotiated" in read_output(
        run("overrides", "list")
    )
    lines = run("overrides", "list", "--json", "--manual", "--provider", "groq").output.splitlines()
    assert [json.loads(line) for line in lines] == json.loads(run("overrides", "export").output)
    assert '"per_million_tokens":1.10,' in lines[0]
    assert "price 2 USD" in read_output(
        run("overrides", "set", "groq", "openai/gpt-4o", "--input-price", "2", "--reason", "r")
    )
    assert overrides.export()[0].facts == {**stored.facts, "input_per_million": Decimal(2)}
    assert read_output(run("overrides", "remove", "groq", "gpt-4o")) == "Removed openai/gpt-4o at groq (priority 100)."
    assert read_output(run("overrides", "list")) == "Nothing to show."
    assert [line.actor for line in audit.list_entries()[0]] == ["command line"] * 3


@both_databases
def test_a_decision_is_on_the_page_of_models_at_once(run: Run, alice: Person, simulator: Simulator) -> None:
    simulator.set_models("openai", named("gpt-4o"))
    alice.add_key("openai")
    read_output(run("sync", "run", alice.row.email))
    before = load_listed("gpt-4o").context_length
    read_output(run("overrides", "set", "openai", "gpt-4o", "--context-window", "777", "--reason", "r"))
    assert load_listed("gpt-4o").context_length == 777
    read_output(run("sync", "run", alice.row.email))
    assert load_listed("gpt-4o").context_length == 777
    read_output(run("overrides", "import", "-", typed=REAL.replace("100", "200")))
    assert (load_listed("gpt-4o").context_length, load_listed("gpt-4o").input_per_million) == (777, Decimal(1))
    read_output(run("overrides", "remove", "openai", "gpt-4o"))
    assert load_listed("gpt-4o").context_length == before


@both_databases
def test_an_export_is_imported_again(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "overrides.json"
    file.write_text(f"[{EMPTY}, {DIFFERENT}, {REAL}]", encoding="utf-8")
    told = read_output(run("overrides", "import", str(file)))
    assert told == "1 added, 0 changed, 0 as they were. 2 below priority 100 passed over: sync makes those itself."
    assert read_output(run("overrides", "export", str(file), "--manual")) == ""
    exported = file.read_text(encoding="utf-8")
    assert json.loads(exported) == [json.loads(REAL) | {"model_id": "openai/gpt-4o"}]
    assert run("overrides", "export", "-").output == exported
    assert read_output(run("overrides", "import", str(file))) == "0 added, 0 changed, 1 as they were."
    read_output(run("overrides", "remove", "openai", "openai/gpt-4o"))
    assert read_output(run("overrides", "import", "-", typed=exported)) == "1 added, 0 changed, 0 as they were."
    assert run("overrides", "export").output == exported
    assert read_output(run("overrides", "import", "-", typed=exported.replace("2.0", "2.5"))).startswith(
        "0 added, 1 changed"
    )


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (MANUAL, 'entry 1 (line 1): there is no provider "custom-provider": see `flask providers list`.'),
        (f"[\n{REAL},\n{MANUAL}]", 'entry 2 (line 12): there is no provider "custom-provider"'),
        (REAL.replace("gpt-4o", "special-model"), 'entry 1 (line 1): there is no canonical model "special-model"'),
        (REAL.replace("1.0", '"x"'), "entry 1 (line 1): pricing.input.per_million_tokens has to be a number."),
        (REAL[:-1], "line 10: this is not valid JSON"),
    ],
)
def test_a_bad_file_is_refused_whole_with_a_sentence(run: Run, tmp_path: Path, text: str, sentence: str) -> None:
    file = tmp_path / "overrides.json"
    file.write_text(text, encoding="utf-8")
    assert f"Error: overrides.json, {sentence}" in read_output(run("overrides", "import", str(file)), 1)
    assert overrides.export() == [] and audit.list_entries() == ((), None)
    assert "standard input, " in read_output(run("overrides", "import", "-", typed=text), 1)


def test_what_cannot_be_is_a_sentence(run: Run, app: Flask, tmp_path: Path) -> None:
    def told(*arguments: str, code: int = 1) -> str:
        return read_output(run("overrides", *arguments), code)

    price = ("--input-price", "1", "--reason", "r")
    assert 'There is no provider "nobody": see `flask providers list`.' in told("set", "nobody", "gpt-4o", *price)
    for command in (["list", "--provider", "nobody"], ["export", "--provider", "nobody"], ["remove", "nobody", "x"]):
        assert 'There is no provider "nobody"' in told(*command)
    assert 'There is no canonical model "x": see `flask catalog match groq x`.' in told("set", "groq", "x", *price)
    assert "Say what to set" in told("set", "groq", "gpt-4o", "--reason", "r")
    assert "Give a --reason" in told("set", "groq", "gpt-4o", "--input-price", "1", "--reason", " ")
    assert "Missing option '--reason'" in told("set", "groq", "gpt-4o", "--input-price", "1", code=2)
    assert "'cheap' is no price" in told("set", "groq", "gpt-4o", "--input-price", "cheap", code=2)
    assert "'tools': write one of" in told("set", "groq", "gpt-4o", *price, "--capability", "tools", code=2)
    assert "99 is not in the range" in told("set", "groq", "gpt-4o", *price, "--priority", "99", code=2)
    negative = told("set", "groq", "gpt-4o", "--input-price", "-1", "--reason", "r")
    assert "pricing.input.per_million_tokens has to be between 0 and 100000 USD, not -1." in negative
    assert "There is no override of gpt-4o at groq with priority 100" in told("remove", "groq", "gpt-4o")
    (tmp_path / "latin").write_bytes(b"\xe9")
    assert "latin is not UTF-8 text." in told("import", str(tmp_path / "latin"))
    assert overrides.export() == []


def test_what_is_about_a_model_that_left_the_catalog_can_be_removed(run: Run) -> None:
    gone = build_override("groq", "lab/gone", 100, {"tools": True})
    overrides.restore("groq/lab/gone@100", to_json(gone), clock.utc_now())
    db.session.commit()
    assert read_output(run("overrides", "remove", "groq", "lab/gone")) == "Removed lab/gone at groq (priority 100)."
