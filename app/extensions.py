"""Flask extensions, created here and initialised in `create_app`."""

from __future__ import annotations

import contextlib
import ipaddress
from typing import Any

from flask_limiter import Limiter
from flask_limiter.util import get_remote_address
from flask_login import LoginManager, current_user
from flask_migrate import Migrate
from flask_sqlalchemy import SQLAlchemy
from flask_sqlalchemy.session import Session
from flask_wtf import CSRFProtect
from htmx_flask import Htmx
from sqlalchemy import Connection, MetaData, event
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import DeclarativeBase, ORMExecuteState, SessionTransaction, UOWTransaction


class Row(DeclarativeBase):
    """Base class of all ORM classes. Constraints are named, so that migrations can refer to them on every database."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_name)s",
            "pk": "pk_%(table_name)s",
        }
    )


_IPV6_PREFIX_LENGTH = 64
"""Networks get at least a /64, within which a client can choose its address freely."""


def client_network() -> str:
    """The request's origin for rate limits: its IPv4 address, or the /64 network of its IPv6 address."""
    remote = get_remote_address()
    try:
        address = ipaddress.ip_address(remote.partition("%")[0])
    except ValueError:
        return remote
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is None:
            return str(ipaddress.ip_network((address, _IPV6_PREFIX_LENGTH), strict=False))
        address = address.ipv4_mapped
    return str(address)


def _rate_limit_key() -> str:
    """The signed-in user, or else the client's network."""
    return f"user:{current_user.id}" if current_user and current_user.is_authenticated else client_network()


_MAY_HAVE_WRITTEN = "may have written"


class CommitOnCloseSession(Session):
    """Session that ends read-only transactions with COMMIT; on close, uncommitted writes are rolled back as usual.

    psycopg drops its prepared statements at each ROLLBACK (psycopg 3.3, `PrepareManager`), after which PostgreSQL plans
    every statement of every page again: more than half of its work.
    """

    def close(self) -> None:
        try:
            if self.in_transaction() and not (
                self.info.get(_MAY_HAVE_WRITTEN) or self.new or self.dirty or self.deleted
            ):
                with contextlib.suppress(SQLAlchemyError):  # the connection is gone; nothing to clean up
                    self.commit()
        finally:  # also if the commit is interrupted, or the connection would not return to its pool
            super().close()

    def connection(self, *args: Any, **kwargs: Any) -> Connection:
        self.info[_MAY_HAVE_WRITTEN] = True  # statements executed on it bypass the session
        return super().connection(*args, **kwargs)


@event.listens_for(CommitOnCloseSession, "do_orm_execute")
def _mark_statement(state: ORMExecuteState) -> None:
    if not state.is_select:
        state.session.info[_MAY_HAVE_WRITTEN] = True


@event.listens_for(CommitOnCloseSession, "after_flush")
def _mark_flush(session: CommitOnCloseSession, _: UOWTransaction) -> None:
    session.info[_MAY_HAVE_WRITTEN] = True


@event.listens_for(CommitOnCloseSession, "after_transaction_end")
def _clear_mark(session: CommitOnCloseSession, transaction: SessionTransaction) -> None:
    if transaction.parent is None:
        session.info.pop(_MAY_HAVE_WRITTEN, None)


db = SQLAlchemy(model_class=Row, session_options={"expire_on_commit": False, "class_": CommitOnCloseSession})
migrate = Migrate(directory="migrations", render_as_batch=True)
login_manager = LoginManager()
htmx = Htmx()
csrf = CSRFProtect()
limiter = Limiter(_rate_limit_key, headers_enabled=True, strategy="moving-window")
