"""The simulated providers in a process of their own, so that their work is not counted with ours.

Lists are made up and sized here: they are of the shape of real ones and no recordings. Each answer is encoded once, so
that the far end is not what bounds a measure on a machine of two cores.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from decimal import Decimal
from http.server import BaseHTTPRequestHandler
from typing import Any
from urllib.parse import urlsplit

from app.demo.faults import encode_json
from app.demo.listings import SimModel
from app.demo.shapes import PLAIN, SHAPES, SimPage
from app.demo.simulator import Simulator, provider_urls
from app.providers import PROVIDERS
from tests.live import ROOT

MANY = tuple(
    slug
    for slug, provider in PROVIDERS.items()
    if not (provider.documented or provider.caveat or provider.base_url_example or provider.extra_endpoints)
)[:25]
"""Providers whose list is whole where they answer at all."""
_SIZES = (
    600,
    450,
    400,
    350,
    300,
    250,
    220,
    200,
    180,
    160,
    140,
    120,
    100,
    90,
    80,
    70,
    60,
    50,
    45,
    40,
    30,
    25,
    20,
    12,
    8,
)
SIZES = dict(zip(sorted(MANY, key=lambda slug: slug != "openrouter"), _SIZES, strict=True))
"""Provider → models it lists: 4,000 in all, most of them with those who resell the others'."""
_MAKERS = ("meta-llama", "qwen", "mistralai", "deepseek-ai", "google", "nousresearch", "some-body", "moonshotai")
_FAMILIES = ("Llama-3.3", "Qwen3-VL", "Ministral", "DeepSeek-R1-Distill", "gemma-3", "Hermes-4", "Bagel-Mix", "Kimi-K2")
_TUNES = ("Instruct", "it", "Thinking", "Coder", "embedding", "GGUF", "Uncensored-v2", "preview-0905")


def models(size: int, edition: int = 0) -> list[SimModel]:
    """A list of `size` models. Each further edition unlists the latest one of the edition before, and lists another."""
    return [_model(number) for number in range(size - 1)] + [_model(size - 1 + 1_000_000 * edition)]


def _model(number: int) -> SimModel:
    maker, family = _MAKERS[number % 8], _FAMILIES[number // 8 % 8]
    return SimModel(
        id=f"{maker}/{family}-{number}B-{_TUNES[number // 64 % 8]}",
        prompt=Decimal(1 + number % 60) / 10,
        completion=Decimal(1 + number % 60) / 2,
        tools=number % 3 > 0,
        vision=number % 5 == 0,
    )


class Canned(Simulator):
    """Says the same to every key, and encodes it once."""

    def __init__(self) -> None:
        self._bodies: dict[str, bytes] = {}
        super().__init__()

    def set_models(self, slug: str, models: Any) -> None:
        super().set_models(slug, models)
        self._bodies[slug] = encode_json(SHAPES.get(slug, PLAIN).answer(SimPage(self.models(slug))))

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        slug = urlsplit(handler.path).path.split("/")[1]
        time.sleep(self._providers[slug].latency_s)
        body = self._bodies[slug]
        head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        handler.wfile.write(head.encode() + body)


class FarEnd:
    """The process, and orders for it."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self.base_urls = provider_urls(int(self._answer()))

    def list_models(self, sizes: Mapping[str, int], edition: int = 0) -> None:
        for slug, size in sizes.items():
            self._order(slug=slug, size=size, edition=edition)

    def set_latency(self, slug: str, seconds: float) -> None:
        self._order(slug=slug, latency_s=seconds)

    def url(self, slug: str) -> str:
        """Where its list is asked for, as the engine asks."""
        provider = PROVIDERS[slug]
        request = provider.build_request(None)
        query = "&".join(f"{name}={value}" for name, value in request.params.items())
        return provider.url(self.base_urls[slug], request.path) + (f"?{query}" if query else "")

    def _order(self, **order: Any) -> None:
        assert self._process.stdin
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()
        self._answer()

    def _answer(self) -> str:
        assert self._process.stdout
        return self._process.stdout.readline().strip()


@contextlib.contextmanager
def far_end() -> Iterator[FarEnd]:
    """All providers, without latency and with the lists of `SIZES`."""
    command = [sys.executable, "-m", "tests.benchmarks.far_end"]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        far = FarEnd(process)
        try:
            far.list_models(SIZES)
            yield far
        finally:
            assert process.stdin
            process.stdin.close()  # it ends when nobody can order it any more


def main() -> None:
    with Canned() as simulator:
        sys.stdout.write(f"{urlsplit(simulator.url).port}\n")
        sys.stdout.flush()
        for line in sys.stdin:
            _obey(simulator, json.loads(line))
            sys.stdout.write("done\n")
            sys.stdout.flush()


def _obey(simulator: Simulator, order: dict[str, Any]) -> None:
    if "size" in order:
        simulator.set_models(order["slug"], models(order["size"], order["edition"]))
    else:
        simulator.set_latency(order["slug"], order["latency_s"])


if __name__ == "__main__":
    main()
