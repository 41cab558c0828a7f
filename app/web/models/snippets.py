"""Code snippets to call a model: curl, openai-python, LiteLLM and LangChain, per provider. Never with a key.

The key is read from the environment variable `<SLUG>_API_KEY`. Parameter names are those of openai 2.54, litellm 1.106,
langchain-openai 1.7, langchain-anthropic 1.7 and langchain-google-genai 4.4.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from app.providers import PROVIDERS
from app.providers.contract import Provider, join_url

QUESTION = "Say hello."
_MAX_TOKENS = 256  # required by Anthropic


@dataclass(frozen=True, slots=True)
class Snippet:
    """Code to copy."""

    tool: str
    """ "curl", "openai-python", "LiteLLM" or "LangChain"."""
    text: str


def build_snippets(slug: str, model_id: str, base_url: str | None = None) -> list[Snippet]:
    """Snippets to call this model; `base_url` is the key's, if it has one. Empty if there is no simple way."""
    provider = PROVIDERS.get(slug)
    if provider is None or provider.no_snippet_reason:
        return []
    target = SnippetTarget(provider, model_id, chat_url(provider, base_url))
    return [Snippet(tool, render(target)) for tool, render in _TOOLS.items()]


def unsupported_reason(slug: str) -> str:
    """Why there are no snippets for this provider; empty if there are."""
    provider = PROVIDERS.get(slug)
    return provider.no_snippet_reason if provider else ""


def key_variable(slug: str) -> str:
    """The environment variable of the provider's key: `OPENAI_API_KEY`."""
    return PROVIDERS[slug].key_variable


@dataclass(frozen=True, slots=True)
class SnippetTarget:
    provider: Provider
    model_id: str
    url: str
    """Base URL of the OpenAI-compatible chat API, without trailing slash."""

    @property
    def variable(self) -> str:
        return key_variable(self.provider.slug)

    @property
    def key(self) -> str:
        return f'os.environ["{self.variable}"]'


def chat_url(provider: Provider, base_url: str | None) -> str:
    """The base URL for an OpenAI client."""
    path = provider.chat_path
    if path is None:
        path = provider.build_request(None).path.rpartition("/models")[0]
    if path.startswith("https://"):
        return path
    base = (base_url or provider.base_url).rstrip("/")
    return join_url(provider.root(base), path) if path else base


def _curl(use: SnippetTarget) -> str:
    if use.provider.slug == "anthropic":
        return _curl_anthropic(use)
    header = "api-key: $" if use.provider.slug == "azure" else "Authorization: Bearer $"
    body = {"model": use.model_id, "messages": [{"role": "user", "content": QUESTION}]}
    return _curl_command(join_url(use.url, "/chat/completions"), [f'"{header}{use.variable}"'], body)


def _curl_anthropic(use: SnippetTarget) -> str:
    question = [{"role": "user", "content": QUESTION}]
    body = {"model": use.model_id, "max_tokens": _MAX_TOKENS, "messages": question}
    version = shlex.quote(f"anthropic-version: {use.provider.headers['anthropic-version']}")
    return _curl_command(f"{use.url}/messages", [f'"x-api-key: ${use.variable}"', version], body)


def _curl_command(url: str, headers: list[str], body: Mapping[str, object]) -> str:
    data = shlex.quote(json.dumps(body, ensure_ascii=False))
    lines = [f"curl {shlex.quote(url)}", *(f"-H {header}" for header in [*headers, "'Content-Type: application/json'"])]
    return " \\\n  ".join([*lines, f"-d {data}"])


def _openai(use: SnippetTarget) -> str:
    return f"""\
import os

from openai import OpenAI

client = OpenAI(
    base_url={_python_string(use.url)},
    api_key={use.key},
)
answer = client.chat.completions.create(
    model={_python_string(use.model_id)},
    messages=[{{"role": "user", "content": "{QUESTION}"}}],
)
print(answer.choices[0].message.content)
"""


def _litellm(use: SnippetTarget) -> str:
    native = {"anthropic": "anthropic", "google": "gemini"}.get(use.provider.slug)
    base = "" if native else f"\n    api_base={_python_string(use.url)},"
    return f"""\
import os

from litellm import completion

answer = completion(
    model={_python_string(f"{native or 'openai'}/{use.model_id.removeprefix('models/')}")},{base}
    api_key={use.key},
    messages=[{{"role": "user", "content": "{QUESTION}"}}],
)
print(answer.choices[0].message.content)
"""


_LANGCHAIN = {
    "anthropic": ("langchain_anthropic", "ChatAnthropic"),
    "google": ("langchain_google_genai", "ChatGoogleGenerativeAI"),
}


def _langchain(use: SnippetTarget) -> str:
    package, name = _LANGCHAIN.get(use.provider.slug, ("langchain_openai", "ChatOpenAI"))
    base = "" if use.provider.slug in _LANGCHAIN else f"\n    base_url={_python_string(use.url)},"
    return f"""\
import os

from {package} import {name}

chat = {name}(
    model={_python_string(use.model_id)},{base}
    api_key={use.key},
)
print(chat.invoke("{QUESTION}").content)
"""


def _python_string(value: str) -> str:
    """A Python string literal for any id."""
    return json.dumps(value, ensure_ascii=True)


_TOOLS: dict[str, Callable[[SnippetTarget], str]] = {
    "curl": _curl,
    "openai-python": _openai,
    "LiteLLM": _litellm,
    "LangChain": _langchain,
}
