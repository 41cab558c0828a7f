"""`flask recipes` and `flask config`: deployment files and the example of all settings."""

from __future__ import annotations

import click
from flask.cli import AppGroup

from app.cli.output import print_table
from app.help.recipes import load_recipes
from app.variables import render_example

config_group = AppGroup("config", help="Show the settings.")


@config_group.command("example")
def print_example() -> None:
    """Print every setting with its default and meaning, as .env.example has them."""
    click.echo(render_example(), nl=False)


@click.command("recipes")
@click.argument("name", required=False)
def print_recipes(name: str | None) -> None:
    """List the deployment files, or print the one called NAME."""
    recipes = load_recipes()
    if name is None:
        print_table([{"name": recipe.name, "what": recipe.title} for recipe in recipes.values()])
    elif name in recipes:
        click.echo(recipes[name].text, nl=False)
    else:
        raise click.ClickException(f"There is no recipe {name}: see `flask recipes`.")
