"""What is wrong after a chaos run: the database's story, told anew from what the far end served."""

from __future__ import annotations

import base64
import zlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import redis
from sqlalchemy import select, text

from app.catalog.changes import Change
from app.catalog.listing import Listing, build_listing, canonical_form, fingerprint
from app.demo.simulator import Simulator
from app.extensions import db
from app.providers import PROVIDERS
from app.store import catalog, listings
from app.store.schema.tables import ChangeRow, CredentialRow, ListingRow, ModelRow, ProviderRow, ResultRow, RunRow
from app.sync.evaluate import PreviousState, evaluate
from app.sync.http import errors
from app.sync.http.client import new_client
from app.sync.http.fetch import Answer, fetch
from app.sync.http.retry import RetryPolicy
from app.vault import ApiKey
from tests.chaos import plan
from tests.chaos.far_end import PAGE_SIZE, Served
from tests.chaos.people import Crowd, mark_of

_AS_IF_WELL = {"slow": "", "hang": "", "conditional": ""}
"""Faults that cost time, or none: the list is that of a provider with which nothing is wrong."""
_NO_LIST = frozenset({"drip", "gzip_bomb", "reset"})


class Truth:
    """What a provider's list of a day comes to, read from a simulator of its own as a worker reads it."""

    def __init__(self, seed: int, simulator: Simulator) -> None:
        self._seed, self._simulator, self._client = seed, simulator, new_client()
        self._known: dict[tuple[str, int, bool, str], Answer | None] = {}

    def answer(self, served: Served) -> Answer | None:
        """None where there was no list to read."""
        fault = _AS_IF_WELL.get(served.fault, served.fault)
        key = served.slug, served.day, served.tag % 3 == 0, fault
        if key not in self._known:
            self._known[key] = None if fault in _NO_LIST else self._ask(*key)
        return self._known[key]

    def close(self) -> None:
        self._client.close()

    def _ask(self, slug: str, day: int, is_tuned: bool, fault: str) -> Answer | None:
        self._simulator.set_models(slug, plan.models_on(self._seed, slug, day))
        self._simulator.clear_fault(slug)
        if fault:
            self._simulator.set_fault(slug, fault)
        key = ApiKey(f"sk-of-the-verdict-{plan.TUNED if is_tuned else 'plain'}")
        url, once = self._simulator.base_urls[slug], RetryPolicy(max_attempts=1)
        try:
            return fetch(PROVIDERS[slug], key, self._client, base_url=url, total_timeout_s=10.0, retry_policy=once)
        except errors.SyncError:
            return None


@dataclass
class Story:
    """One credential's history, retold from what its provider served."""

    slug: str
    in_force: Listing | None = None
    in_force_id: int | None = None
    is_whole: bool = True
    lost: set[str] = field(default_factory=set)
    """Ids that it listed and lost."""


class Verdict:
    def __init__(self, crowd: Crowd, served: Iterable[Served], truth: Truth) -> None:
        self.crowd, self.truth = crowd, truth
        self.wrong: list[str] = []
        self.counted: Counter[str] = Counter()
        self._served: dict[int, list[Served]] = defaultdict(list)
        for one in served:
            if one.tag:
                self._served[crowd.owners[one.tag]].append(one)

    def find(self) -> list[str]:
        """All that is wrong, as sentences."""
        self._runs_are_closed()
        self._nothing_is_doubled()
        self._histories_are_true()
        self._shared_rows_are_those_in_force()
        self._totals_are_right()
        return self.wrong

    # -------------------------------------------------------------- runs and rows

    def _runs_are_closed(self) -> None:
        self._none("a run is not closed", "SELECT id, state FROM runs WHERE state IN ('queued', 'running')")
        self._none("an ended run has no end", "SELECT id FROM runs WHERE ended_at IS NULL OR lease_until IS NOT NULL")
        self._none("a result of an ended run is open", "SELECT id, run_id FROM results WHERE outcome IS NULL")
        self._none("a run has no results", "SELECT id FROM runs WHERE id NOT IN (SELECT run_id FROM results)")
        self._none(
            "a failure says nothing",
            "SELECT id, outcome FROM results WHERE outcome IN ('failed', 'skipped', 'suspect')"
            " AND (error_code IS NULL OR error_message IS NULL OR error_action IS NULL)",
        )
        self._none("Modelsync itself failed", "SELECT id, run_id FROM results WHERE error_code = 'internal_error'")
        self._none(
            "a finished run skipped as if lost or cancelled",
            "SELECT r.id FROM results r JOIN runs ON runs.id = r.run_id"
            " WHERE runs.state = 'done' AND r.error_code IN ('run_lost', 'cancelled')",
        )
        self._none(
            "a result was written after its run had ended",
            "SELECT r.id, runs.state FROM results r JOIN runs ON runs.id = r.run_id"
            " WHERE r.ended_at > runs.ended_at + interval '1 second'",
        )

    def _nothing_is_doubled(self) -> None:
        for table, columns in (
            ("results", "run_id, credential_id"),
            ("changes", "comparison_id, provider_model_id"),
            ("comparisons", "key"),
            ("models", "provider_id, provider_model_id"),
            ("listings", "fingerprint"),
            ("listed_models", "listing_id, provider_model_id"),
        ):
            query = f"SELECT {columns} FROM {table} WHERE true GROUP BY {columns} HAVING count(*) > 1"
            self._none(f"a row of {table} is doubled", query)
        # Two comparisons that say the same of the same two listings would tell their news twice.
        self._none(
            "one result has another's changes",
            "SELECT c.id FROM comparisons c WHERE (SELECT count(*) FROM changes WHERE comparison_id = c.id)"
            " <> c.new + c.changed + c.unlisted + c.relisted",
        )

    def _totals_are_right(self) -> None:
        self._none(
            "a run counts its news wrongly",
            "SELECT id, total_new_models FROM runs WHERE total_new_models <> ("
            " SELECT count(DISTINCT (r.provider_id, c.provider_model_id)) FROM results r"
            " JOIN changes c ON c.comparison_id = r.comparison_id AND c.kind = 'new'"
            " WHERE r.run_id = runs.id AND r.new > 0)",
        )

    def _shared_rows_are_those_in_force(self) -> None:
        rows = db.session.execute(
            select(ProviderRow.slug, CredentialRow.listing_id)
            .join(CredentialRow, CredentialRow.provider_id == ProviderRow.id)
            .where(CredentialRow.listing_id.is_not(None))
            .distinct()
        ).all()
        wanted: set[tuple[str, str]] = set()
        for slug, listing_id in rows:
            wanted |= {(slug, model.id) for model in listings.load(listing_id or 0).models if not model.private}
        shared = select(ProviderRow.slug, ModelRow.provider_model_id).where(ModelRow.is_active)
        shared = shared.join(ProviderRow, ProviderRow.id == ModelRow.provider_id)
        active = {(slug, model_id) for slug, model_id in db.session.execute(shared)}
        self._say("active, but on no list in force", active - wanted)
        self._say("on a list in force, but not active", wanted - active)

    # -------------------------------------------------------------- histories

    def _histories_are_true(self) -> None:
        prints = {row.id: row.fingerprint for row in db.session.execute(select(ListingRow.id, ListingRow.fingerprint))}
        by_credential: dict[int, list[Any]] = defaultdict(list)
        query = select(ResultRow, ProviderRow.slug, RunRow.state).join(RunRow, RunRow.id == ResultRow.run_id)
        query = query.join(ProviderRow, ProviderRow.id == ResultRow.provider_id).order_by(ResultRow.id)
        for row in db.session.execute(query).all():
            by_credential[row[0].credential_id or 0].append(row)
        _, index = catalog.load_index()
        for credential_id, rows in by_credential.items():
            story = Story(rows[0][1])
            for result, _, _ in rows:
                self.counted[result.outcome or "open"] += 1
                if result.outcome in ("complete", "unchanged", "partial", "suspect"):
                    self._retell(story, result, prints, index)
            held = db.session.get_one(CredentialRow, credential_id)
            if held.listing_id != story.in_force_id:
                self.wrong.append(f"credential {credential_id}: {held.listing_id} is in force, not {story.in_force_id}")

    def _retell(self, story: Story, result: ResultRow, prints: dict[int, bytes], index: Any) -> None:
        where = f"result {result.id} ({story.slug}, credential {result.credential_id}, {result.outcome})"
        if result.before_listing_id != story.in_force_id:
            self.wrong.append(f"{where}: came after {result.before_listing_id}, not {story.in_force_id}")
        told = prints.get(result.listing_id or 0)
        found = [(answer, listing) for answer, listing in self._answers(story.slug, result) if _print(listing) == told]
        if not found:
            self.wrong.append(f"{where}: was not served to it")
            return
        answer, _ = found[0]
        is_replaced = result.credential_id in self.crowd.replaced()
        previous = PreviousState(
            listing=story.in_force,
            is_whole=story.is_whole,
            is_from_other_key=is_replaced and result.outcome == "complete",
            lost_ids=frozenset(story.lost),
        )
        evaluation = evaluate(story.slug, previous, answer, index)
        if evaluation.grade != result.outcome and not is_replaced:
            self.wrong.append(f"{where}: should be {evaluation.grade}")
        after = evaluation.in_force if result.outcome in ("complete", "partial") else None
        if after is not None:
            self._retell_changes(story, result, evaluation.changes, where)
            story.is_whole = evaluation.is_whole
            story.in_force = after
            story.in_force_id = next((number for number, one in prints.items() if one == _print(after)), None)

    def _retell_changes(self, story: Story, result: ResultRow, changes: Sequence[Change], where: str) -> None:
        if _changes_of(result) != _as_rows(changes):
            self.wrong.append(f"{where}: its changes are not those between the lists")
        if _counts(result) != Counter(change.kind for change in changes):
            self.wrong.append(f"{where}: its counts are not those of its changes")
        story.lost |= {change.model_id for change in changes if change.kind == "unlisted"}

    def _answers(self, slug: str, result: ResultRow) -> Iterator[tuple[Answer, Listing]]:
        """What this result's key was given while it was asked."""
        started_at = result.started_at.timestamp() if result.started_at else 0.0
        ended = result.ended_at.timestamp() if result.ended_at else 0.0
        for served in self._served[result.credential_id or 0]:
            if started_at <= served.at <= ended and (answer := self.truth.answer(served)):
                yield answer, build_listing(slug, answer.models)

    # -------------------------------------------------------------- saying it

    def _none(self, what: str, query: str) -> None:
        self._say(what, db.session.execute(text(query)).all())

    def _say(self, what: str, found: Iterable[Any]) -> None:
        rows = list(found)
        if rows:
            self.wrong.append(f"{what}: {len(rows)} times, such as {rows[:5]}")


def leaks(keys: Iterable[str], places: Iterable[tuple[str, bytes]]) -> list[str]:
    """Where a key, its mark, or one of these in hexadecimal or base64 stands."""
    marks = [mark_of(key) for key in keys]
    results = []
    for place, said in places:
        upper = said.upper()
        if any(mark.encode() in upper or mark.encode().hex().upper().encode() in upper for mark in marks):
            results.append(f"a key stands in {place}")
        if any(_in_base64(mark, said) for mark in marks):
            results.append(f"a key stands in {place}, in base64")
    return results


def _in_base64(mark: str, said: bytes) -> bool:
    # Wherever it begins within three bytes, its middle looks the same.
    return any(base64.b64encode(b"x" * shift + mark.encode())[4:-4] in said for shift in range(3))


def places(logs: Path, queue_url: str, dump: bytes) -> Iterator[tuple[str, bytes]]:
    """All that the installation wrote: its logs, its database, its queue."""
    for file in sorted(logs.rglob("*.log")):
        yield file.name, file.read_bytes()
    yield "the database", dump
    yield from queued(queue_url)
    for row in db.session.execute(select(ListingRow.id, ListingRow.content)):
        yield f"listing {row.id}", zlib.decompress(row.content)


def queued(url: str) -> Iterator[tuple[str, bytes]]:
    """Every value in Redis."""
    readers = {b"hash": "hgetall", b"string": "get", b"list": "lrange", b"zset": "zrange", b"set": "smembers"}
    with redis.Redis.from_url(url) as client:
        for name in list(client.scan_iter()):
            kind: Any = client.type(name)
            bounds = (0, -1) if kind in (b"list", b"zset") else ()
            value = getattr(client, readers[kind])(name, *bounds) if kind in readers else b""
            yield f"Redis, {name!r}", name + repr(value).encode() + _inflated(value)


def _inflated(value: object) -> bytes:
    """A job's payload, which RQ compresses."""
    data = value.get(b"data") if isinstance(value, dict) else None
    try:
        return zlib.decompress(data) if data else b""
    except zlib.error:
        return b""


def _print(listing: Listing) -> bytes:
    return fingerprint(canonical_form(listing))


def _changes_of(result: ResultRow) -> list[tuple[Any, ...]]:
    if result.comparison_id is None:
        return []
    rows = db.session.scalars(select(ChangeRow).where(ChangeRow.comparison_id == result.comparison_id))
    return sorted((row.kind, row.provider_model_id, row.model_name, repr(row.fields)) for row in rows)


def _as_rows(changes: Sequence[Change]) -> list[tuple[Any, ...]]:
    return sorted((one.kind, one.model_id, one.name, repr(_plain(one.fields))) for one in changes)


def _plain(fields: object) -> Any:
    """As it comes back from a column of JSON."""
    return msgspec.json.decode(msgspec.json.encode(fields))


def _counts(result: ResultRow) -> Counter[str]:
    counts = {"new": result.new, "changed": result.changed, "unlisted": result.unlisted, "relisted": result.relisted}
    return Counter({kind: count for kind, count in counts.items() if count})


def simulator() -> Simulator:
    """One that serves as the far end did, for `Truth`."""
    return Simulator(page_size=PAGE_SIZE)
