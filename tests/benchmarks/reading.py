"""What reading a listing costs, beside what decoding its JSON costs at the least.

Reading is everything between an answer's bytes and its address: decode, normalise, classify, sort, hash. "Cold"
is a process that has seen none of these ids and prices, "again" the next reading of the same list.
"""

from __future__ import annotations

import gc
import json
import statistics
import time
import tracemalloc
from collections.abc import Callable

import msgspec

from app.catalog import kind
from app.catalog.listing import Listing, build_listing, canonical_form, fingerprint
from app.providers import helicone, openrouter, parsing
from app.providers.contract import ReadPage

ROUNDS = 5
SIZES = (1_000, 12_000)
_MAKERS = ("meta-llama", "qwen", "mistralai", "deepseek-ai", "google", "nousresearch", "some-body", "moonshotai")
_FAMILIES = ("Llama-3.3", "Qwen3-VL", "Ministral", "DeepSeek-R1-Distill", "gemma-3", "Hermes-4", "Bagel-Mix", "Kimi-K2")
_TUNES = ("Instruct", "it", "Thinking", "Coder", "embedding", "GGUF", "Uncensored-v2", "preview-0905")
_PARAMETERS = [*(f"parameter_{number}" for number in range(12)), "tools", "reasoning", "structured_outputs", "seed"]
_PROSE = (
    "A mixture of experts with open weights, tuned for long conversations, for code and for the use of tools. "
    "It was trained on many languages and reasons before it answers, if it is asked to. Compared with the one "
    "before it, it is better at mathematics and at following long instructions."
)


def openai_answer(size: int) -> bytes:
    """A bare list: ids, dates and owners."""
    return _encoded(
        [
            {"id": _id(n), "object": "model", "created": 1_700_000_000 + 4_111 * n, "owned_by": _MAKERS[n % 8]}
            for n in range(size)
        ]
    )


def openrouter_answer(size: int) -> bytes:
    """As rich as lists get: modalities, prices, limits, parameters and prose."""
    return _encoded([_rich(n) for n in range(size)])


def rows() -> list[tuple[str, str]]:
    """The measures as (what, value): times per 1,000 models, the median of five, and memory of the largest."""
    measured: list[tuple[str, str]] = []
    for shape, answer, read in (
        ("OpenRouter's shape", openrouter_answer, openrouter.PROVIDER.read),
        ("OpenAI's shape", openai_answer, helicone.PROVIDER.read),
    ):
        for size in SIZES:
            body = answer(size)
            decoded, cold, again = _times(body, read)
            measured.append(
                (
                    f"reading {size:,} models in {shape}, per 1,000",
                    f"{1e6 * cold / size:.1f} ms, {cold / decoded:.1f} × the decoding alone; "
                    f"again {1e6 * again / size:.1f} ms, {again / decoded:.1f} ×",
                )
            )
        kept, peak = _memory(body, read)
        measured.append(("… memory kept by it, and at the peak", f"{kept / 2**20:.1f} MB, {peak / 2**20:.1f} MB"))
    return measured


def _times(body: bytes, read: ReadPage) -> tuple[float, float, float]:
    decoded, cold, again = [], [], []
    for _ in range(ROUNDS):
        decoded.append(_seconds(lambda: msgspec.json.decode(body)))
        _forget()
        cold.append(_seconds(lambda: _read(body, read)))
        again.append(_seconds(lambda: _read(body, read)))
    return statistics.median(decoded), statistics.median(cold), statistics.median(again)


def _memory(body: bytes, read: ReadPage) -> tuple[int, int]:
    """Bytes that stay with the listing and the caches, and the most that was held on the way there."""
    _forget()
    gc.collect()
    tracemalloc.start()
    try:
        listing = _read(body, read)
        gc.collect()
        kept, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    del listing
    return kept, peak


def _read(body: bytes, read: ReadPage) -> tuple[Listing, bytes]:
    listing = build_listing("benchmark", read(body).models)
    return listing, fingerprint(canonical_form(listing))


def _forget() -> None:
    for module in (kind, parsing):
        for cached in vars(module).values():
            if hasattr(cached, "cache_clear"):
                cached.cache_clear()


def _seconds(act: Callable[[], object]) -> float:
    gc.collect()
    start = time.perf_counter()
    act()
    return time.perf_counter() - start


def _id(number: int) -> str:
    return f"{_MAKERS[number % 8]}/{_FAMILIES[number // 8 % 8]}-{number}B-{_TUNES[number // 64 % 8]}"


def _rich(number: int) -> dict[str, object]:
    inputs = ["text", "image", "file"][: 1 + number % 3]
    price = 1 + number % 60
    return {
        "id": _id(number),
        "canonical_slug": f"{_id(number)}-20260401",
        "hugging_face_id": _id(number) if number % 2 else None,
        "name": f"Model {number} of a benchmark",
        "created": 1_700_000_000 + 4_111 * number,
        "description": _PROSE if number % 2 else f"{_PROSE}\n\n{_PROSE}",
        "context_length": 131_072,
        "architecture": {
            "modality": "+".join(inputs) + "->text",
            "input_modalities": inputs,
            "output_modalities": ["text"],
            "tokenizer": "Other",
            "instruct_type": None,
        },
        "pricing": {
            "prompt": f"0.000000{price:02}",
            "completion": f"0.00000{price:02}",
            "request": "0",
            "image": "0",
            "input_cache_read": f"0.0000000{price:02}",
        },
        "top_provider": {"context_length": 131_072, "max_completion_tokens": 16_384, "is_moderated": False},
        "per_request_limits": None,
        "supported_parameters": _PARAMETERS[number % 4 :],
        "default_parameters": {"temperature": None, "top_p": None, "frequency_penalty": None},
        "expiration_date": None,
    }


def _encoded(models: list[dict[str, object]]) -> bytes:
    return json.dumps({"object": "list", "data": models}, separators=(",", ":")).encode()
