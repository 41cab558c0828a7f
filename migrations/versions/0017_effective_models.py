"""effective facts: the models' table keeps what the provider said apart, and people query it as the view "models"

The start that follows writes the effective facts: see app/sync/catalog/bootstrap.py.
"""

import json

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None

# The types as they were when this migration was made; it must not follow the tables as they change.
JSON = sa.JSON(none_as_null=True).with_variant(postgresql.JSONB(none_as_null=True), "postgresql")

# A sync that finds a list unchanged writes no models; that it confirmed them shows in the provider.
MODELS_VIEW = """
CREATE VIEW models AS
SELECT m.id, m.provider_id, m.provider_model_id, m.provider_model_id AS model_id, m.model_name, m.description,
       m.kind, m.kind_reason, m.canonical_id, m.match_rule, m.variant, m.snapshot, m.modality,
       m.context_length, m.max_output_tokens,
       m.pricing_prompt, m.pricing_completion,
       m.input_per_million, m.output_per_million, m.cache_read_per_million, m.cache_write_per_million,
       m.supports_streaming, m.supports_function_calling, m.supports_vision, m.supports_reasoning,
       m.supports_structured_output, m.released_at, m.deprecated_at, m.retires_at, m.provider_facts, m.facts_hash,
       m.is_active, m.first_seen_at, {last_seen_at} AS last_seen_at, m.created_at, {updated_at} AS updated_at
FROM shared_models AS m
"""
CONFIRMED = """
       CASE WHEN m.is_active THEN {latest}(m.{column}, coalesce(
            (SELECT p.last_synced_at FROM providers AS p WHERE p.id = m.provider_id), m.{column}))
            ELSE m.{column} END"""
# PostgreSQL updates such a view by itself. The owner's documents have one statement: UPDATE models SET is_active.
SQLITE_TRIGGERS = (
    "CREATE TRIGGER models_update INSTEAD OF UPDATE OF is_active ON models BEGIN "
    "UPDATE shared_models SET is_active = NEW.is_active WHERE id = OLD.id; END",
    "CREATE TRIGGER models_delete INSTEAD OF DELETE ON models BEGIN DELETE FROM shared_models WHERE id = OLD.id; END",
)
FACTS = ("context_length", "max_output_tokens")
CAPABILITIES = {
    "streaming": "supports_streaming",
    "tools": "supports_function_calling",
    "vision": "supports_vision",
    "reasoning": "supports_reasoning",
    "structured_output": "supports_structured_output",
}
PRICES = ("input_per_million", "output_per_million", "cache_read_per_million", "cache_write_per_million")
DATES = {"created_at": "released_at", "deprecated_at": "deprecated_at", "retires_at": "retires_at"}


def upgrade() -> None:
    op.add_column("providers", sa.Column("priority", sa.String(length=10), server_default="slow", nullable=False))
    op.add_column("providers", sa.Column("capabilities", JSON, server_default="{}", nullable=False))
    op.add_column("models", sa.Column("provider_facts", JSON, server_default="{}", nullable=False))
    _fill_provider_facts()
    op.rename_table("models", "shared_models")
    is_sqlite = op.get_bind().dialect.name == "sqlite"
    latest = "max" if is_sqlite else "greatest"
    columns = {name: CONFIRMED.format(latest=latest, column=name) for name in ("last_seen_at", "updated_at")}
    op.execute(MODELS_VIEW.format(**columns))
    if is_sqlite:
        for trigger in SQLITE_TRIGGERS:
            op.execute(trigger)


def downgrade() -> None:
    op.execute("DROP VIEW models")
    op.rename_table("shared_models", "models")
    op.drop_column("models", "provider_facts")
    op.drop_column("providers", "capabilities")
    op.drop_column("providers", "priority")


def _fill_provider_facts() -> None:
    """Until now the columns held what the provider said."""
    models = sa.table("models", sa.column("id"), sa.column("provider_facts", JSON))
    rows = op.get_bind().execute(sa.text("SELECT * FROM models")).mappings().all()
    filled = [{"row_id": row["id"], "facts": _provider_facts(row)} for row in rows]
    if filled:
        statement = sa.update(models).where(models.c.id == sa.bindparam("row_id"))
        op.get_bind().execute(statement.values(provider_facts=sa.bindparam("facts")), filled)


def _provider_facts(row: sa.RowMapping) -> dict[str, object]:
    inputs, _, outputs = row["modality"].partition("->")
    facts = {
        "id": row["provider_model_id"],
        "name": row["model_name"],
        "kind": row["kind"],
        "kind_reason": row["kind_reason"],
        "input_modalities": [word for word in inputs.split("+") if word],
        "output_modalities": [word for word in outputs.split("+") if word],
        **{name: row[name] for name in FACTS},
        **{name: None if row[column] is None else bool(row[column]) for name, column in CAPABILITIES.items()},
        **{name: None if row[name] is None else str(row[name]) for name in PRICES},
        **{name: None if row[column] is None else _iso(row[column]) for name, column in DATES.items()},
    }
    return json.loads(json.dumps({name: value for name, value in facts.items() if value is not None}))


def _iso(moment: object) -> str:
    """SQLite returns UTC as text without a time zone."""
    text = str(moment).replace(" ", "T")
    return text if "+" in text else f"{text}+00:00"
