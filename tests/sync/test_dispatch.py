"""Fetching many items at once: which endpoints wait for which, and for how long at most."""

from __future__ import annotations

import threading
import time
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from app.store.runs import RunItem
from app.sync import dispatch
from app.sync.dispatch import deadline_for, fetch_each
from app.sync.http import errors
from app.sync.http.client import new_client
from app.sync.http.fetch import Answer
from app.sync.limits.limiter import BULK_QUOTA
from app.sync.run import SyncContext


def item(number: int, slug: str, base_url: str | None = None) -> RunItem:
    return RunItem(number, number, number, 1, slug, "", None, None, 1, base_url)


class _Silent(BaseHTTPRequestHandler):
    """A server that takes a request and never answers it, until it is released."""

    released = threading.Event()

    def do_GET(self) -> None:
        self.released.wait(30)

    def log_message(self, *_: object) -> None:
        pass


@pytest.mark.slow
def test_servers_of_users_own_that_hang_keep_nobody_elses_waiting(means: SyncContext) -> None:
    """Of one provider that is a server of one's own, at different addresses."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Silent)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    dead = f"http://127.0.0.1:{server.server_address[1]}"
    good = means.base_urls["ollama"]
    items = [item(number, "ollama", dead) for number in range(1, 21)] + [item(21, "ollama", good)]
    with new_client() as client:
        impatient = replace(means, restricted=client, total_timeout_s=2.0)
        try:
            start = time.monotonic()
            answers = {fetched.item.credential_id: fetched for fetched in fetch_each(items, impatient)}
        finally:
            _Silent.released.set()
            server.shutdown()
            server.server_close()
    assert isinstance(answers[21].answer, Answer)
    # Behind the twenty it would have come in the third round of two seconds.
    assert answers[21].duration_s < 2.0 and time.monotonic() - start < 30


def remaining_s(items: list[RunItem], means: SyncContext) -> float:
    return deadline_for(items, means) - time.monotonic()


def test_the_deadline_is_by_endpoint_and_before_the_jobs_own(means: SyncContext) -> None:
    slow = replace(means, total_timeout_s=60.0)
    one_endpoint = [item(number, "openai") for number in range(20)]
    many_endpoints = [item(number, "ollama", f"http://server-{number}.test") for number in range(20)]
    assert remaining_s(one_endpoint, slow) == pytest.approx(3 * 62, abs=1)
    assert remaining_s(many_endpoints, slow) == pytest.approx(62, abs=1)
    assert remaining_s(one_endpoint, replace(slow, quota=BULK_QUOTA)) == pytest.approx(4 * 62, abs=1)
    assert remaining_s(one_endpoint * 50, slow) <= dispatch._MAX_TOTAL_S
    from app.jobs import queues

    assert dispatch._MAX_TOTAL_S + 60 < queues.JOB_TIMEOUT_S


def test_beyond_the_thread_limit_endpoints_take_turns_and_all_are_fetched(
    means: SyncContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dispatch, "_MAX_THREADS", 3)
    before = threading.active_count()
    slugs = ("ollama", "openrouter", "deepinfra", "vllm", "chutes", "novita")
    items = [
        item(number, slug, means.base_urls[slug] if slug in ("ollama", "vllm") else None)
        for number, slug in enumerate(slugs, start=1)
    ]
    with new_client() as client:
        fetched = fetch_each(items, replace(means, restricted=client))
    assert len(fetched) == len(slugs)
    assert all(isinstance(one.answer, Answer) for one in fetched[:2]), [one.answer for one in fetched]
    assert not any(isinstance(one.answer, errors.TimedOut) for one in fetched)
    assert threading.active_count() - before <= 3 + len(slugs) * 2  # the simulator's own are among them
