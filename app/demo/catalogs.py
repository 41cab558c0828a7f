"""The public catalogs as a demo and the tests meet them: four small documents, so that nothing leaves the machine.

Written by hand in the shapes of the real ones (see `app/catalog/sources/`), with their field names and units; they
are no recordings. The facts of real models are those of the shipped seed; "Claude Demo 1" is made up, so that a
demo's catalog has some news.
"""

from __future__ import annotations

import gzip
import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from typing import Any

from app.demo.faults import encoded

PATH = "/_catalogs/"
_MODALITIES = {"input": ["text", "image", "pdf"], "output": ["text"]}


def _modelsdev(name: str, family: str, context: int, output: int, cost: Mapping[str, float], **more: Any) -> Any:
    return {
        "name": name,
        "family": family,
        "attachment": True,
        "reasoning": False,
        "tool_call": True,
        "open_weights": False,
        "modalities": _MODALITIES,
        "limit": {"context": context, "output": output},
        "cost": cost,
        **more,
    }


MODELSDEV: dict[str, Any] = {
    "openai": {
        "id": "openai",
        "name": "OpenAI",
        "npm": "@ai-sdk/openai",
        "models": {
            "gpt-4o": _modelsdev(
                "GPT-4o",
                "gpt",
                128_000,
                16_384,
                {"input": 2.5, "output": 10, "cache_read": 1.25},
                knowledge="2023-09",
                release_date="2024-05-13",
                structured_output=True,
            ),
            "gpt-4o-mini": _modelsdev(
                "GPT-4o mini",
                "gpt-mini",
                128_000,
                16_384,
                {"input": 0.15, "output": 0.6, "cache_read": 0.075},
                knowledge="2023-09",
                release_date="2024-07-18",
                structured_output=True,
            ),
        },
    },
    "anthropic": {
        "id": "anthropic",
        "name": "Anthropic",
        "npm": "@ai-sdk/anthropic",
        "models": {
            "claude-haiku-4-5": _modelsdev(
                "Claude Haiku 4.5 (latest)",
                "claude-haiku",
                200_000,
                64_000,
                {"input": 1, "output": 5, "cache_read": 0.1, "cache_write": 1.25},
                reasoning=True,
                knowledge="2025-02-28",
                release_date="2025-10-15",
            ),
            "claude-demo-1": _modelsdev(
                "Claude Demo 1",
                "claude-demo",
                500_000,
                64_000,
                {"input": 2, "output": 8},
                reasoning=True,
                release_date="2026-11-01",
            ),
        },
    },
}
LITELLM: dict[str, Any] = {
    "sample_spec": {"max_tokens": "LEGACY parameter", "mode": "one of: chat, embedding, completion"},
    "gpt-4o": {
        "litellm_provider": "openai",
        "mode": "chat",
        "max_input_tokens": 128_000,
        "max_output_tokens": 16_384,
        "input_cost_per_token": 2.5e-06,
        "output_cost_per_token": 1e-05,
        "supports_function_calling": True,
        "supports_native_streaming": True,
    },
    "groq/llama-3.3-70b-versatile": {
        "litellm_provider": "groq",
        "mode": "chat",
        "max_input_tokens": 128_000,
        "max_output_tokens": 32_768,
        "input_cost_per_token": 5.9e-07,
        "output_cost_per_token": 7.9e-07,
        "supports_function_calling": True,
    },
}
OPENROUTER: dict[str, Any] = {
    "data": [
        {
            "id": "anthropic/claude-demo-1",
            "canonical_slug": "anthropic/claude-demo-1-20261101",
            "hugging_face_id": None,
            "name": "Anthropic: Claude Demo 1",
            "created": 1_793_491_200,
            "context_length": 500_000,
            "architecture": {"input_modalities": ["text", "image"], "output_modalities": ["text"]},
            "pricing": {"prompt": "0.000002", "completion": "0.000008"},
            "top_provider": {"context_length": 500_000, "max_completion_tokens": 64_000},
            "supported_parameters": ["tools", "structured_outputs", "reasoning"],
        },
        {
            "id": "openai/gpt-4o",
            "canonical_slug": "openai/gpt-4o",
            "name": "OpenAI: GPT-4o",
            "created": 1_715_558_400,
            "context_length": 128_000,
            "architecture": {"input_modalities": ["text", "image"], "output_modalities": ["text"]},
            "pricing": {"prompt": "0.0000025", "completion": "0.00001"},
            "top_provider": {"context_length": 128_000, "max_completion_tokens": 16_384},
            "supported_parameters": ["tools", "structured_outputs"],
        },
    ]
}
AIHUBMIX: dict[str, Any] = {
    "data": [
        {
            "model_id": "gpt-4o",
            "model_name": "GPT-4o",
            "types": "llm",
            "features": "tools,function_calling,structured_outputs",
            "input_modalities": "text,image",
            "context_length": 128_000,
            "max_output": 16_384,
            "pricing": {"input": 2.5, "output": 10},
        },
        {
            "model_id": "claude-demo-1",
            "model_name": "Claude Demo 1",
            "types": "llm",
            "features": "thinking,tools",
            "input_modalities": "text,image",
            "context_length": 500_000,
            "max_output": 64_000,
            "pricing": {"input": 2, "output": 8},
        },
    ]
}
_DOCUMENTS = {"modelsdev": MODELSDEV, "litellm": LITELLM, "openrouter": OPENROUTER, "aihubmix": AIHUBMIX}


@dataclass
class Shelf:
    """What is served of the catalogs, with ETags; a test may put anything else there."""

    bodies: dict[str, bytes] = field(default_factory=dict)
    statuses: dict[str, int] = field(default_factory=dict)
    """Catalog → a status to fail with."""
    conditional: list[str] = field(default_factory=list)
    """Catalogs that were asked by ETag, in this order."""
    before_answering: Callable[[str], None] | None = None

    def reset(self) -> None:
        self.bodies = {name: encoded(document) for name, document in _DOCUMENTS.items()}
        self.statuses.clear()
        self.conditional.clear()
        self.before_answering = None

    def answer(self, handler: BaseHTTPRequestHandler, name: str) -> None:
        """Answer a GET: 304 for an ETag that fits, compressed where that is asked for."""
        if self.before_answering:
            self.before_answering(name)
        status = self.statuses.get(name, 200 if name in self.bodies else 404)
        body = self.bodies.get(name, b"")
        etag = f'"{hashlib.sha256(body).hexdigest()[:16]}"'
        if asked := handler.headers.get("If-None-Match"):
            self.conditional.append(name)
            if asked == etag and status == 200:
                status, body = 304, b""
        if body and "gzip" in (handler.headers.get("Accept-Encoding") or ""):
            body = gzip.compress(body, 6)
        handler.send_response(status)
        handler.send_header("ETag", etag)
        handler.send_header("Content-Type", "application/json")
        if status != 304:
            handler.send_header("Content-Length", str(len(body)))
            handler.send_header("Content-Encoding", "gzip" if body else "identity")
        handler.end_headers()
        handler.wfile.write(body)


def addresses(port: int) -> dict[str, str]:
    """Catalog → address at a simulator on this port."""
    return {name: f"http://127.0.0.1:{port}{PATH}{name}" for name in _DOCUMENTS}
