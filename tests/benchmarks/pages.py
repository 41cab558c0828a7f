"""Each main page under fifty clients at once, beside the same HTML from the memory of the same server.

`python -m tests.benchmarks pages`. Both come from gunicorn with gevent as `flask up` starts it, pass the same doors and
are compressed alike; what comes from memory asks the database only who is there. The page and its twin are fetched by
turns, so that whatever else the machine does befalls both.
"""

from __future__ import annotations

import statistics
import tempfile
from pathlib import Path

from app.demo import seed
from app.extensions import db
from app.store.accounts import users
from app.vault import PublicKey
from tests.benchmarks import crowd
from tests.benchmarks.far_end import far_end
from tests.benchmarks.stage import Stage, best_database, stage
from tests.benchmarks.web_server import Server, cookie_of, serving
from tests.signed import sign_in

CLIENTS, EACH, ROUNDS = 50, 8, 5
PAGES = {
    "/login": "",
    "/profile": seed.ALICE,
    "/models": seed.ALICE,
    "/changes": seed.ALICE,
    "/history": seed.ALICE,
    "/settings": seed.ALICE,
    "/admin": seed.CAROL,
    "/admin/history": seed.CAROL,
}
"""Page → whose it is."""

Rows = list[tuple[str, str]]


def rows() -> Rows:
    """p95 of the page and of its twin, and how many times the one is the other: medians of five rounds."""
    with far_end() as far, stage(best_database(), far) as installed, tempfile.TemporaryDirectory() as folder:
        seed.seed(installed.vault, PublicKey(installed.vault.public))
        for page, email in PAGES.items():
            Path(folder, _twin(page)).write_bytes(_html(installed, page, email))
        cookies = {email: _cookie(installed, email) for email in set(PAGES.values())}
        db.session.remove()
        with serving(installed, Path(folder)) as server:
            return [_row(server, page, cookies[email], installed.database) for page, email in PAGES.items()]


def _row(server: Server, page: str, cookie: str, database: str) -> tuple[str, str]:
    results = []
    for _ in range(ROUNDS):
        mine, twin = _p95(server, page, cookie), _p95(server, f"/from-memory/{_twin(page)}", cookie)
        results.append((mine, twin, mine / twin))
    mine, twin, ratio = (statistics.median(values) for values in zip(*results, strict=True))
    measure = f"p95 of {page}, {CLIENTS} clients, and of its HTML from memory ({database})"
    return measure, f"{1e3 * mine:.0f} and {1e3 * twin:.0f} ms, {ratio:.1f} ×"


def _p95(server: Server, path: str, cookie: str) -> float:
    took = crowd.answer(crowd.start("ask", port=server.port, path=path, cookie=cookie, clients=CLIENTS, each=EACH))
    return statistics.quantiles(took, n=20)[-1]


def _twin(page: str) -> str:
    return page.strip("/").replace("/", "-")


def _html(installed: Stage, page: str, email: str) -> bytes:
    client = installed.app.test_client()
    user = users.find_by_email(email) if email else None
    if user is not None:
        sign_in(client, user)
    db.session.remove()
    with installed.app.app_context():  # of its own: in the stage's, whoever looked first would be there for good
        answer = client.get(page)
    if answer.status_code != 200:
        raise RuntimeError(f"{page} answered {answer.status_code}")
    return answer.data


def _cookie(installed: Stage, email: str) -> str:
    user = users.find_by_email(email) if email else None
    return cookie_of(installed, user.id) if user else ""
