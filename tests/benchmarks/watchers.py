"""What a hundred people cost the web server while each watches a sync of theirs that is under way.

`python -m tests.benchmarks watchers`. Their runs have five keys, of which one ends every few seconds, as the worker
tells it; the streams are opened from another process, as by browsers. Everyone looked at their page once before: what
is measured is the watching.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from datetime import timedelta
from pathlib import Path

from app.extensions import db
from app.jobs import pubsub
from app.store import runs
from tests.benchmarks import crowd
from tests.benchmarks.far_end import far_end
from tests.benchmarks.stage import begin, best_database, now, people, stage
from tests.benchmarks.web_server import Server, cookie_of, serving

WATCHERS, SECONDS = 100, 25.0
_KEYS = ("openai", "groq", "mistral", "together", "deepinfra")

Rows = list[tuple[str, str]]


def rows(rounds: int = 1) -> Rows:
    with far_end() as far, stage(best_database(), far) as installed, tempfile.TemporaryDirectory() as folder:
        user_ids = people(installed, WATCHERS, _KEYS)
        cookies = [cookie_of(installed, user_id) for user_id in user_ids]
        with serving(installed, Path(folder)) as server:
            for cookie in cookies:
                crowd.ask(server.port, "/profile", cookie, 1, 0)
            found = [_watched(server, user_ids, cookies) for _ in range(rounds)]
        grown, share, heard = (statistics.median(values) for values in zip(*found, strict=True))
    measure = f"{WATCHERS} watchers of a running sync, {SECONDS:.0f} s ({installed.database})"
    return [
        (f"{measure}: more memory of the web server", f"{grown / 1e6:.1f} MB"),
        ("… its processor time, while five results of each ended", f"{100 * share:.1f} % of a core"),
        ("… pieces that each of them was sent", f"{heard:.0f}"),
    ]


def _watched(server: Server, user_ids: list[int], cookies: list[str]) -> tuple[float, float, float]:
    """Bytes it grew by, share of a core, pieces that the one who heard least was sent."""
    run_ids = begin(user_ids)
    attempts = runs.claim(run_ids, now(), timedelta(minutes=10))
    results = sorted(
        runs.load_items(list(attempts)), key=lambda part: part.slug
    )  # one key of everybody's after the other
    db.session.commit()
    before, cpu, start = server.resident_bytes(), server.cpu_s(), time.monotonic()
    watching = crowd.start("watch", port=server.port, path="/sync/stream", cookies=cookies)
    most = before
    for number, part in enumerate(results):
        _wait_until(start + SECONDS * (number + 1) / (len(results) + 1))
        runs.settle(part.result_id, now(), {"outcome": "unchanged", "fetched": 100, "chat": 80})
        db.session.commit()
        pubsub.publish_run_changed(part.run_id)
        if number % 50 == 0:
            most = max(most, server.resident_bytes())
    _wait_until(start + SECONDS)
    most, took = max(most, server.resident_bytes()), time.monotonic() - start
    share = (server.cpu_s() - cpu) / took
    heard = min(crowd.answer(watching))
    runs.close(run_ids, now())
    db.session.commit()
    return most - before, share, heard


def _wait_until(moment: float) -> None:
    time.sleep(max(0.0, moment - time.monotonic()))
