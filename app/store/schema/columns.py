"""Column types, column groups and constraints that the tables share.

Times are aware UTC, prices `Decimal` in USD per million tokens.
"""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    CheckConstraint,
    DateTime,
    Dialect,
    Float,
    ForeignKey,
    Index,
    Integer,
    Numeric,
    String,
    Text,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column
from sqlalchemy.types import TypeDecorator, TypeEngine


class UtcDateTime(TypeDecorator[datetime]):
    """Aware UTC on every database. SQLite stores no time zone; it is added when read."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, _dialect: Dialect) -> datetime | None:
        if value is not None and value.tzinfo is None:
            raise ValueError(f"datetime without a time zone: {value}")
        return value and value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, _dialect: Dialect) -> datetime | None:
        return value and (value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC))


class UsdPerMillion(TypeDecorator[Decimal]):
    """USD per million tokens, nine decimals. SQLite stores floats, which preserve 15 digits."""

    impl = Numeric(18, 9)
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        return dialect.type_descriptor(Float() if dialect.name == "sqlite" else Numeric(18, 9))

    def process_bind_param(self, value: Decimal | None, dialect: Dialect) -> Any:
        return float(value) if value is not None and dialect.name == "sqlite" else value

    def process_result_value(self, value: Any, _dialect: Dialect) -> Decimal | None:
        return None if value is None else Decimal(repr(value) if isinstance(value, float) else value).normalize()


Json = JSON(none_as_null=True).with_variant(JSONB(none_as_null=True), "postgresql")
BigId = BigInteger().with_variant(Integer, "sqlite")  # SQLite autoincrements only an INTEGER primary key


class ModelFactColumns:
    """Limits and prices of a model."""

    context_length: Mapped[int | None] = mapped_column(BigInteger)
    max_output_tokens: Mapped[int | None] = mapped_column(BigInteger)
    input_per_million: Mapped[Decimal | None] = mapped_column(UsdPerMillion)
    output_per_million: Mapped[Decimal | None] = mapped_column(UsdPerMillion)
    cache_read_per_million: Mapped[Decimal | None] = mapped_column(UsdPerMillion)
    cache_write_per_million: Mapped[Decimal | None] = mapped_column(UsdPerMillion)


class ResultCountColumns:
    """Numbers of models in an answer: all, chat models, changes by kind, unknown to the catalog, unreadable."""

    fetched: Mapped[int] = mapped_column(default=0)
    chat: Mapped[int] = mapped_column(default=0)
    new: Mapped[int] = mapped_column(default=0)
    changed: Mapped[int] = mapped_column(default=0)
    unlisted: Mapped[int] = mapped_column(default=0)
    relisted: Mapped[int] = mapped_column(default=0)
    uncatalogued: Mapped[int] = mapped_column(default=0)
    skipped: Mapped[int] = mapped_column(default=0)


class ErrorColumns:
    error_code: Mapped[str | None] = mapped_column(String(40))
    error_message: Mapped[str | None] = mapped_column(Text)
    error_action: Mapped[str | None] = mapped_column(Text)


def enum_check(column: str, allowed: tuple[str, ...], *, nullable: bool = False) -> CheckConstraint:
    values = ", ".join(f"'{word}'" for word in allowed)
    condition = f"{column} IN ({values})"
    return CheckConstraint(f"{column} IS NULL OR {condition}" if nullable else condition, name=column)


def partial_index(name: str, *columns: str, where: str, unique: bool = False) -> Index:
    return Index(name, *columns, unique=unique, postgresql_where=text(where), sqlite_where=text(where))


# SQLite reuses the id of a deleted last row; a worker that still holds the old id must not find another row under it.
NO_ID_REUSE = {"sqlite_autoincrement": True}


def foreign_key(target: str, *, on_delete: str = "CASCADE") -> ForeignKey:
    return ForeignKey(target, ondelete=on_delete)
