"""Every environment variable is documented once, and .env.example is what that documentation renders."""

from __future__ import annotations

import re
from itertools import chain
from pathlib import Path

import pytest
from flask import Flask

from app import config
from app.cli.up import up
from app.config import ROOT
from app.variables import GROUPS, OTHERS, Variable, load_variables

SOURCES = "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / "app").rglob("*.py"))
# Set by `flask up` for its own children, and by the tests: not for users to set.
INTERNAL = {
    "XDG_DATA_HOME",
    "MODELSYNC_ROLE",
    "MODELSYNC_DEMO",
    "MODELSYNC_DEMO_URL",
    "MODELSYNC_DEMO_TOKEN",
    "FLASK_RUN_FROM_CLI",
}
INTERNAL |= {"FLASK_SKIP_DOTENV"}
READ_BY_LIBRARIES = {"HTTPS_PROXY"}
VARIABLES = list(chain.from_iterable(load_variables().values()))
OF_PROVIDERS = {one.name for group in ("Server keys", "Base URLs") for one in load_variables()[group]}
DEFAULTS = [one for one in VARIABLES if one.default and one.name != "MODELSYNC_INSTANCE"]
OF_UP = [one for one in DEFAULTS if f"{one.name}=" in OTHERS]
OF_SETTINGS = [one for one in DEFAULTS if one not in OF_UP]


def test_the_example_is_up_to_date(app: Flask) -> None:
    printed = app.test_cli_runner().invoke(args=["config", "example"])
    assert printed.exit_code == 0
    example = (ROOT / ".env.example").read_text(encoding="utf-8")
    assert example == printed.output, "run `flask config example > .env.example`"


def test_every_variable_that_the_code_reads_is_documented_and_no_other() -> None:
    read = re.findall(r'(?:environ\w*(?:\.get\(|\[)|environ\w*, |envvar=)"([A-Z_]+)"', SOURCES)
    assert {one.name for one in VARIABLES} - OF_PROVIDERS == (set(read) | READ_BY_LIBRARIES) - INTERNAL - OF_PROVIDERS
    assert len({one.name for one in VARIABLES}) == len(VARIABLES)


def test_every_documented_variable_stands_in_a_group() -> None:
    documented = re.findall(r"^ *(?:\"\"\")?([A-Z_]+)=\S*: ", SOURCES, re.MULTILINE)
    assert documented and set(documented) <= {one.name for one in VARIABLES}
    assert all(load_variables()[title] for title in GROUPS)


def test_no_secret_has_a_default() -> None:
    for one in VARIABLES:
        assert not (one.default and one.name.endswith(("_SECRET", "_TOKEN", "_KEY", "_KEYS", "SMTP_URL"))), one.name


@pytest.mark.parametrize("variable", OF_SETTINGS, ids=lambda one: one.name)
def test_a_documented_default_is_the_default(variable: Variable, tmp_path: Path) -> None:
    base = {"MODELSYNC_INSTANCE": str(tmp_path)}
    assert config.load({**base, variable.name: variable.default}) == config.load(base)


@pytest.mark.parametrize("variable", OF_UP, ids=lambda one: one.name)
def test_a_documented_default_of_up_is_the_default(variable: Variable) -> None:
    defaults = {option.envvar: option.default for option in up.params if option.envvar}
    assert str(defaults[variable.name]) == variable.default
