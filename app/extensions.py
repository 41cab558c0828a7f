"""The extensions, made here and bound in `create_app`."""

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
    """Base of every row. Constraints are named, so that migrations can refer to them on every database."""

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
"""Bits of an IPv6 address that a network is given; whoever has it chooses the others as they like."""


def client_network() -> str:
    """Where a request comes from, for limits: its IPv4 address, or the /64 network of its IPv6 address."""
    address = get_remote_address()
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if isinstance(found, ipaddress.IPv6Address):
        if found.ipv4_mapped is None:
            return str(ipaddress.ip_network((found, _IPV6_PREFIX_LENGTH), strict=False))
        found = found.ipv4_mapped
    return str(found)


def _rate_limit_key() -> str:
    """Whose limit a request counts against: an account's, else a network's."""
    return f"user:{current_user.id}" if current_user and current_user.is_authenticated else client_network()


_MAY_HAVE_WRITTEN = "may have written"


class CommitOnCloseSession(Session):
    """Ends what only read by COMMIT; what may have written, and was not committed, is taken back as ever.

    psycopg forgets its prepared statements at each ROLLBACK (psycopg 3.3, `PrepareManager`), so that PostgreSQL would
    plan every statement of every page anew: half of its work and more.
    """

    def close(self) -> None:
        try:
            if self.in_transaction() and not (
                self.info.get(_MAY_HAVE_WRITTEN) or self.new or self.dirty or self.deleted
            ):
                with contextlib.suppress(SQLAlchemyError):  # of a connection that is lost nobody wants anything more
                    self.commit()
        finally:  # whatever ends the commit, such as the end of who asked: the connection goes back
            super().close()

    def connection(self, *args: Any, **kwargs: Any) -> Connection:
        self.info[_MAY_HAVE_WRITTEN] = True  # what is done with it cannot be seen from here
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
