"""The extensions, made here and bound in `create_app`."""

from __future__ import annotations

from flask_limiter import Limiter
from flask_limiter.util import get_remote_address
from flask_login import LoginManager, current_user
from flask_migrate import Migrate
from flask_sqlalchemy import SQLAlchemy
from flask_wtf import CSRFProtect
from htmx_flask import Htmx
from sqlalchemy import MetaData
from sqlalchemy.orm import DeclarativeBase


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


def _who() -> str:
    """Whose limit a request counts against: an account's, else an address's."""
    return f"user:{current_user.id}" if current_user and current_user.is_authenticated else get_remote_address()


db = SQLAlchemy(model_class=Row, session_options={"expire_on_commit": False})
migrate = Migrate(directory="migrations", render_as_batch=True)
login_manager = LoginManager()
htmx = Htmx()
csrf = CSRFProtect()
limiter = Limiter(_who, headers_enabled=True, strategy="moving-window")
