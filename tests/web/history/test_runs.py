"""History as pictures: the calendar, a key's scope over time, two moments compared; one's own only."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

import pytest

from app import clock as app_clock
from app.demo.listings import SimModel
from app.demo.simulator import Simulator
from app.store.queries.runs import ResultView
from app.store.schema.tables import CredentialRow
from app.sync.run import SyncContext
from app.web.history import scope_chart
from app.web.history.scope_chart import CalendarDay
from tests.conftest import Clock, Person, both_databases
from tests.store.queries.test_runs import counted, many_runs
from tests.sync.test_run import named, synced
from tests.web import text_browser
from tests.web.text_browser import Plainly, read


def words(html: str) -> str:
    """What a person reads; where a tag ends, a comma follows without a space."""
    return text_browser.words(html).replace(" ,", ",")


@pytest.fixture
def key(alice: Person) -> CredentialRow:
    return alice.add_key("openai", label="work")


@pytest.fixture
def three(
    alice: Person,
    key: CredentialRow,
    means: SyncContext,
    clock: Clock,
    simulator: Simulator,
    monkeypatch: pytest.MonkeyPatch,
) -> list[ResultView]:
    """Three different lists of Alice's key, a day apart; she is signed in, three days after the last."""
    lists = (
        [SimModel("o3", prompt=Decimal(2), completion=Decimal(8)), *named("gpt-4o")],
        [SimModel("o3", prompt=Decimal(2), completion=Decimal(8)), *named("gpt-4o", "gpt-5", "gpt-6")],
        [SimModel("o3", prompt=Decimal(2), completion=Decimal(8)), *named("gpt-5", "gpt-6")],
    )
    results = []
    for models in lists:
        simulator.set_models("openai", models)
        results.append(synced(alice, means).results[0])
        clock.forward(days=1)
    clock.forward(days=2)
    alice.row.sync_on_sign_in = False
    later = clock.moment
    monkeypatch.setattr(app_clock, "utc_now", lambda: later)
    alice.sign_in()
    return results


# ------------------------------------------------------------------ the calendar


def test_the_calendar_is_whole_weeks_until_today() -> None:
    days = scope_chart.calendar_dates(date(2026, 11, 20), weeks=4)
    assert (days[0], days[-1], len(days)) == (date(2026, 10, 26), date(2026, 11, 20), 26)
    assert days[0].weekday() == 0


def test_a_day_of_the_calendar_may_have_23_hours() -> None:
    bounds = scope_chart.day_bounds([date(2026, 3, 29)], ZoneInfo("Europe/Berlin"))
    assert bounds[1].astimezone(UTC) - bounds[0].astimezone(UTC) == timedelta(hours=23)


@pytest.mark.parametrize(
    ("counts", "worst", "told"),
    [
        ({}, "", "no sync"),
        ({"complete": 2, "unchanged": 1}, "complete", "2 complete, 1 unchanged"),
        ({"unchanged": 1}, "unchanged", "1 unchanged"),
        (
            {"unchanged": 9, "failed": 1, "suspect": 1, "partial": 1},
            "failed",
            "1 failed, 1 suspect, 1 partial, 9 unchanged",
        ),
        ({"skipped": 1, "complete": 1}, "skipped", "1 skipped, 1 complete"),
    ],
)
def test_a_day_has_the_tone_of_its_worst_outcome(counts: dict[str, int], worst: str, told: str) -> None:
    square = CalendarDay(date(2026, 11, 20), Counter(counts))
    assert (square.worst, square.summary) == (worst, told)


@both_databases
def test_the_page_has_the_calendar_with_its_table_and_a_day_leads_to_its_syncs(
    alice: Person, three: list[ResultView], means: SyncContext
) -> None:
    page = alice.client.get("/history").text
    svg = page.split('<svg class="chart-calendar"', 1)[1].split("</svg>", 1)[0]
    assert 'role="img"' in svg and "3 days with syncs. Results: 3 complete." in svg
    assert (svg.count("in-complete"), svg.count("<rect")) == (3, 25 * 7 + app_clock.utc_now().weekday() + 1)
    days = [link for link in read(page).links if "day=" in link]
    assert days == [f"/history?day=2026-11-0{number}" for number in (3, 2, 1)]
    one = alice.client.get(days[1]).text
    assert f'href="/history/{three[1].run_id}"' in one and f'href="/history/{three[0].run_id}"' not in one
    assert "No sync that day" in words(alice.client.get("/history?day=2026-10-01").text)


@pytest.mark.parametrize("day", ["", "x", "0001-01-01", "9999-12-31", "2026-02-30", "20261101%00"])
def test_odd_days_are_none_or_have_no_sync(alice: Person, three: list[ResultView], day: str) -> None:
    answer = alice.client.get(f"/history?day={day}")
    assert answer.status_code == 200 and f'href="/history/{three[0].run_id}"' in answer.text


def test_days_are_the_persons_own(alice: Person, three: list[ResultView]) -> None:
    alice.post("/settings/time-zone", time_zone="Pacific/Kiritimati")  # 14 hours ahead: noon is the next day already
    assert "/history?day=2026-11-04" in alice.client.get("/history").text
    text = alice.client.get("/history?day=2026-11-02").text
    assert f'href="/history/{three[0].run_id}"' in text and f'href="/history/{three[1].run_id}"' not in text


# ------------------------------------------------------------------ a key over time


def test_a_keys_scope_is_a_line_with_its_table(alice: Person, key: CredentialRow, three: list[ResultView]) -> None:
    page = alice.client.get(f"/history/keys/{key.id}").text
    svg = page.split('<svg class="chart-scope"', 1)[1].split("</svg>", 1)[0]
    assert 'role="img"' in svg and "From 2 to 3, at least 2, at most 4." in svg
    text = words(page)
    assert "3 chat models" in text and "3 different lists" in text
    assert [text.index(step) for step in ("−1", "+2", "first")] == sorted(
        text.index(step) for step in ("−1", "+2", "first")
    )
    assert page.count('type="radio"') == 6


def test_the_line_keeps_its_height_until_the_next_point() -> None:
    start = datetime(2026, 11, 1, tzinfo=UTC)
    points = [(start, 10), (start + timedelta(days=1), 20)]
    svg = str(scope_chart.draw_scope(points, start + timedelta(days=2)))
    assert 'd="M0.00 20.00H50.00V2.00H100.00"' in svg  # halfway up at 10 of 20, then at the top
    alone = str(scope_chart.draw_scope(points[:1], start))
    assert 'd="M0.00 2.00H100.00"' in alone


@pytest.mark.parametrize(("numbers", "bottom"), [([5], 0), ([0], 0), ([10, 20], 0), ([100, 101], 99), ([1, 1], 0)])
def test_small_steps_of_a_large_number_are_seen(numbers: list[int], bottom: int) -> None:
    assert scope_chart.axis_floor(numbers) == bottom


def test_a_key_without_a_list_says_so(alice: Person, key: CredentialRow) -> None:
    alice.sign_in()
    assert "No list yet" in words(alice.client.get(f"/history/keys/{key.id}").text)
    assert "Nothing to compare yet" in words(alice.client.get(f"/history/compare?key={key.id}").text)


# ------------------------------------------------------------------ two moments


@both_databases
def test_two_moments_of_a_key_are_compared(alice: Person, key: CredentialRow, three: list[ResultView]) -> None:
    def compared(query: str) -> str:
        return words(alice.client.get(f"/history/compare?key={key.id}{query}").text)

    last = compared("")
    assert "gained 0 chat models, lost 1, and 0 changed" in last and "Lost 1 gpt-4o" in last
    whole = compared(f"&from={three[0].id}&to={three[2].id}")
    assert "gained 2 chat models, lost 1, and 0 changed" in whole
    assert "Gained 2 gpt-5" in whole and "Lost 1 gpt-4o" in whole
    assert compared(f"&from={three[2].id}&to={three[0].id}") == whole  # whichever is named first
    assert "gained and lost nothing" in compared(f"&from={three[1].id}&to={three[1].id}")
    assert "gained 2 chat models, lost 0" in compared(f"&to={three[1].id}")


def test_a_changed_price_is_shown_and_a_rename_is_no_loss(
    alice: Person, means: SyncContext, clock: Clock, simulator: Simulator
) -> None:
    key = alice.add_key("groq")
    simulator.set_models("groq", [*named("llama3-8b-8192"), SimModel("gpt-4o", context=8_192)])
    synced(alice, means)
    clock.forward(days=1)
    simulator.set_models("groq", [*named("meta-llama/Meta-Llama-3-8B-Instruct"), SimModel("gpt-4o", context=16_384)])
    synced(alice, means)
    text = words(alice.sign_in().client.get(f"/history/compare?key={key.id}").text)
    assert "gained 0 chat models, lost 0, and 2 changed" in text
    assert "renamed llama3-8b-8192" in text and "context window 8.19k → 16.4k" in text


def test_what_was_only_partly_read_is_no_loss_and_said_so(
    alice: Person, key: CredentialRow, means: SyncContext, three: list[ResultView], simulator: Simulator
) -> None:
    anthropic = alice.add_key("anthropic")
    synced(alice, means)
    simulator.set_fault("anthropic", "repeated_cursor")
    after = next(result for result in synced(alice, means).results if result.provider == "anthropic")
    assert after.outcome == "partial"
    text = words(alice.client.get(f"/history/compare?key={anthropic.id}&to={after.id}").text)
    assert "only partly read" in text and "gained and lost nothing" in text


def test_only_moments_of_ones_own_key_can_be_compared(
    alice: Person, bob: Person, carol: Person, key: CredentialRow, three: list[ResultView], means: SyncContext
) -> None:
    other = alice.add_key("groq")
    elsewhere = next(result for result in synced(alice, means).results if result.provider == "groq")
    own = f"/history/compare?key={key.id}&from={three[0].id}&to="
    assert alice.client.get(own + str(three[2].id)).status_code == 200
    assert alice.client.get(own + str(elsewhere.id)).status_code == 404
    assert alice.client.get(own + "922337203685477580").status_code == 404
    assert alice.client.get(f"/history/compare?key={other.id}&from={three[0].id}").status_code == 404
    for person in (bob, carol):
        person.sign_in()
        for path in (own + str(three[2].id), f"/history/keys/{key.id}", f"/history/compare?key={key.id}"):
            answer = person.client.get(path)
            assert answer.status_code == 404 and "gpt-" not in answer.text
        assert "work" not in words(person.client.get("/history/compare").text.partition("</main>")[0])
        bobs = person.add_key("openai")
        answer = person.client.get(f"/history/compare?key={bobs.id}&from={three[0].id}&to={three[1].id}")
        assert answer.status_code == 404 and "gpt-" not in answer.text


def test_the_admin_sees_no_way_to_anothers_key(carol: Person, key: CredentialRow, three: list[ResultView]) -> None:
    carol.sign_in()
    for path in (f"/history/{three[0].run_id}", f"/history/{three[0].run_id}/results/{three[0].id}"):
        assert "/history/keys/" not in carol.client.get(path).text


def test_one_gets_there_by_links_and_forms_alone(alice: Person, key: CredentialRow, three: list[ResultView]) -> None:
    someone = Plainly(alice.client).open("/profile")
    someone.follow(f"/history/keys/{key.id}")
    assert "What this key could use, over time." in words(someone.html)
    someone.open("/history").follow(f"/history/{three[2].run_id}").follow(f"/history/keys/{key.id}")
    someone.submit("/history/compare", key=str(key.id), **{"from": str(three[0].id), "to": str(three[2].id)})
    assert "gained 2 chat models" in words(someone.html)
    someone.open("/history").follow("/history/compare").follow("/history/compare?key=")
    assert "Two moments compared" in words(someone.html)
    someone.open(f"/history/{three[2].run_id}/results/{three[2].id}").follow("/history/compare")
    assert "lost 1" in words(someone.html)


@both_databases
def test_the_pages_take_the_same_few_queries_however_much_there_is(
    alice: Person, key: CredentialRow, three: list[ResultView]
) -> None:
    paths = ("/history", "/history?day=2026-11-02", f"/history/keys/{key.id}", f"/history/compare?key={key.id}")
    queries: dict[str, list[int]] = {path: [] for path in paths}
    for more in (0, 300):
        if more:
            many_runs(alice, more)
        for path in paths:
            alice.client.get(path)
            with counted() as sent:
                assert alice.client.get(path).status_code == 200
            queries[path].append(len(sent))
    assert all(at_few == at_many <= 8 for at_few, at_many in queries.values()), queries
