"""All providers in a process of its own, with lists that change from day to day, and a note of all that it served.

It takes orders from standard input, a JSON object a line, and ends with it. A key tells by its tag whose it is:
`sk-chaos-<word>-t<tag>-…`; the notes hold the tag and never the key.
"""

from __future__ import annotations

import json
import re
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from app.demo.faults import ActiveFault, Exchange
from app.demo.simulator import Simulator
from tests.chaos import plan

PAGE_SIZE = 20
_TAG = re.compile(r"-t(\d+)-")
_NEXT_PAGE = ("after_id", "pageToken")
_WHOLE_LIST = frozenset({"shrunk", "repeated_cursor"})
"""Faults that are one with the list: a next page is cut from the same one."""
_BREAKS = frozenset({"error_500", "unavailable_503", "maintenance", "reset", "html", "null", "rate_limited", "hang"})
"""Those that may befall a next page."""


class Served(msgspec.Struct, frozen=True):
    """The beginning of one answer."""

    at: float
    """Seconds since 1970, before the answer began."""
    slug: str
    tag: int
    day: int
    fault: str


class Timely(Simulator):
    """A simulator whose whole list is that of one day, for every page of it."""

    def __init__(self, seed: int, notes: Path) -> None:
        super().__init__(page_size=PAGE_SIZE)
        self.seed, self.day = seed, 0
        self._begun: dict[tuple[str, str], tuple[int, str]] = {}
        """Provider and key → the day and the fault with which their last list began."""
        self._note = notes.open("ab", buffering=0)
        for slug in plan.SLUGS:
            self.set_latency(slug, plan.latency_s(self.seed, slug))
            self.heal(slug)
        self.show(0)

    def stop(self) -> None:
        super().stop()
        self._note.close()

    def show(self, day: int) -> None:
        """The lists of this day, at all providers at once."""
        lists = {slug: list(plan.models_on(self.seed, slug, day)) for slug in plan.SLUGS}
        with self._lock:
            self.day = day
            for slug, models in lists.items():
                self._providers[slug].models = models

    def heal(self, slug: str) -> None:
        self.clear_fault(slug)
        if plan.is_conditional(self.seed, slug):
            self.set_fault(slug, "conditional")

    def _exchange(
        self, handler: Any, booth: Any, path: str, query: dict[str, str], is_home: bool
    ) -> tuple[Exchange | None, bool]:
        # Called with the lock held.
        exchange, works = super()._exchange(handler, booth, path, query, is_home)
        if exchange is None:
            return exchange, works
        place, fault = (booth.slug, exchange.key), "" if works else exchange.fault.name
        if not any(query.get(name) for name in _NEXT_PAGE):
            self._begun[place] = self.day, fault
            self._tell(booth.slug, exchange.key, fault)
            return exchange, works
        day, first = self._begun.get(place, (self.day, ""))
        models = plan.models_on(self.seed, booth.slug, day)
        exchange.models = tuple(model for model in models if model.key_substring in exchange.key)
        if first in _WHOLE_LIST:
            exchange.fault = ActiveFault(first)
            return exchange, False
        return exchange, works or fault not in _BREAKS

    def _tell(self, slug: str, key: str, fault: str) -> None:
        tag = _TAG.search(key)
        served = Served(time.time(), slug, int(tag[1]) if tag else 0, self.day, fault)
        self._note.write(msgspec.json.encode(served) + b"\n")


def obey(simulator: Timely, order: Mapping[str, Any]) -> None:
    if "day" in order:
        simulator.show(order["day"])
    elif order.get("calm"):
        for slug in plan.SLUGS:
            simulator.heal(slug)
    else:
        slug, fault = order["slug"], order["fault"]
        times = 1 if fault in plan.ONCE else None
        simulator.set_fault(slug, fault, seconds=plan.SECONDS.get(fault), times=times)
        end = threading.Timer(order["lasts_s"], lambda: simulator.heal(slug))
        end.daemon = True
        end.start()


def read(notes: Path) -> list[Served]:
    """What was served, in its order."""
    decoder = msgspec.json.Decoder(Served)
    return [decoder.decode(line) for line in notes.read_bytes().splitlines()]


def main(seed: int, notes: Path) -> None:
    with Timely(seed, notes) as simulator:
        sys.stdout.write(json.dumps(simulator.base_urls) + "\n")
        sys.stdout.flush()
        for line in sys.stdin:
            obey(simulator, json.loads(line))


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]))
