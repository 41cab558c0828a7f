"""Addresses of servers of one's own, as people have them."""

from __future__ import annotations

import pytest

from app.providers import PROVIDERS
from app.providers.addresses import InvalidBaseURL, clean_address, keeps_key, list_addresses, validate_login

OWN, OLLAMA, LMSTUDIO, VLLM, AZURE = "openai-compatible", "ollama", "lmstudio", "vllm", "azure"
AZURE_HOST = "https://mine.openai.azure.com"


@pytest.mark.parametrize(
    ("slug", "typed", "base_url"),
    [
        # the address of a call
        (OWN, "https://llm.example.com/v1", "https://llm.example.com/v1"),
        (OWN, "https://llm.example.com/v1/", "https://llm.example.com/v1"),
        (OWN, "https://llm.example.com/v1/models", "https://llm.example.com/v1"),
        (OWN, "https://llm.example.com/v1/models/", "https://llm.example.com/v1"),
        (OWN, "https://llm.example.com/v1/models/org/model-1", "https://llm.example.com/v1"),
        (OWN, "https://llm.example.com/v1/chat/completions", "https://llm.example.com/v1"),
        (OWN, "https://llm.example.com/chat/completions", "https://llm.example.com"),
        (OWN, "https://llm.example.com/v1/completions", "https://llm.example.com/v1"),
        (OWN, "https://llm.example.com/v1/responses", "https://llm.example.com/v1"),
        (OWN, "https://llm.example.com/v1/embeddings", "https://llm.example.com/v1"),
        (OWN, "https://llm.example.com/v1/messages", "https://llm.example.com/v1"),
        (OWN, "https://llm.example.com/v1/audio/speech", "https://llm.example.com/v1"),
        (OWN, "https://llm.example.com/api/paas/v4/chat/completions", "https://llm.example.com/api/paas/v4"),
        (OWN, "https://llm.example.com/api/v0/models", "https://llm.example.com/api/v0"),
        (OWN, "https://chat.example.com/api/chat/completions", "https://chat.example.com/api"),
        (OWN, "http://localhost:11434/api/tags", "http://localhost:11434"),
        (OWN, "http://localhost:8000/docs", "http://localhost:8000"),
        # what only looks like one
        (OWN, "https://llm.example.com/my-models", "https://llm.example.com/my-models"),
        (OWN, "https://llm.example.com/models-of-us/v1", "https://llm.example.com/models-of-us/v1"),
        # scheme, host, port
        (OWN, "llm.example.com", "https://llm.example.com"),
        (OWN, "llm.example.com/v1", "https://llm.example.com/v1"),
        (OWN, "//llm.example.com/v1", "https://llm.example.com/v1"),
        (OWN, "localhost:8080", "http://localhost:8080"),
        (OWN, "127.0.0.1:8080/v1", "http://127.0.0.1:8080/v1"),
        (OWN, "192.168.1.20:1234/v1/chat/completions", "http://192.168.1.20:1234/v1"),
        (OWN, "203.0.113.9", "http://203.0.113.9"),
        (OWN, "8.8.8.8:8080", "https://8.8.8.8:8080"),
        (OWN, "gpu-box:8000", "http://gpu-box:8000"),
        (OWN, "gpu-box:8443", "https://gpu-box:8443"),
        (OWN, "nas.local", "http://nas.local"),
        (OWN, "[::1]:8080", "http://[::1]:8080"),
        (OWN, "HTTPS://LLM.Example.COM:443/V1", "https://llm.example.com/V1"),
        (OWN, "http://llm.example.com:80/v1", "http://llm.example.com/v1"),
        (OWN, "https:/llm.example.com/v1", "https://llm.example.com/v1"),
        # what is around it
        (OWN, "  https://llm.example.com/v1/models?limit=10&api_key=secret#top ", "https://llm.example.com/v1"),
        (OWN, '"https://llm.example.com/v1",', "https://llm.example.com/v1"),
        (OWN, "<https://llm.example.com/v1>", "https://llm.example.com/v1"),
        (OWN, "OPENAI_BASE_URL=https://llm.example.com/v1", "https://llm.example.com/v1"),
        (OWN, "export OPENAI_BASE_URL='https://llm.example.com/v1'", "https://llm.example.com/v1"),
        (OWN, "https://llm.example.com//v1//models", "https://llm.example.com/v1"),
        # servers whose list is not under their OpenAI-compatible path
        *((OLLAMA, f"http://box:11434{path}", "http://box:11434") for path in ("", "/", "/v1", "/v1/models", "/api")),
        *((OLLAMA, f"box:11434{path}", "http://box:11434") for path in ("/api/tags", "/api/chat", "/api/embeddings")),
        (OLLAMA, "https://chat.example.com/ollama/api/tags", "https://chat.example.com/ollama"),
        *((LMSTUDIO, f"http://box:1234{path}", "http://box:1234") for path in ("/v1", "/api/v0", "/api/v1/models")),
        (LMSTUDIO, "box:1234/api/v0/models", "http://box:1234"),
        *((VLLM, f"http://box:8000{path}", "http://box:8000") for path in ("", "/v1", "/v1/models", "/health")),
        (VLLM, "https://gateway.example.com/vllm/v1/chat/completions", "https://gateway.example.com/vllm"),
        (AZURE, "mine.openai.azure.com", AZURE_HOST),
        (AZURE, f"{AZURE_HOST}/openai/deployments/gpt/chat/completions?api-version=2024-10-21", AZURE_HOST),
        (AZURE, f"{AZURE_HOST}/openai/responses?api-version=2025-04-01-preview", AZURE_HOST),
        (AZURE, f"{AZURE_HOST}/openai/v1/", AZURE_HOST),
        (
            AZURE,
            "https://m.services.ai.azure.com/models/chat/completions?api-version=x",
            "https://m.services.ai.azure.com",
        ),
        (AZURE, "https://m.services.ai.azure.com/api/projects/one", "https://m.services.ai.azure.com"),
        (AZURE, "https://api.example.com/ai/openai/deployments/gpt/embeddings", "https://api.example.com/ai"),
        (OWN, f"{AZURE_HOST}/openai/deployments/gpt/chat/completions?api-version=x", f"{AZURE_HOST}/openai/v1"),
    ],
)
def test_an_address_is_cut_to_its_base_url(slug: str, typed: str, base_url: str) -> None:
    provider = PROVIDERS[slug]
    assert clean_address(provider, typed).base_url == base_url
    assert clean_address(provider, base_url).base_url == base_url, "a stored one stays as it is"


def test_a_stored_address_of_every_provider_stays_as_it_is() -> None:
    for provider in PROVIDERS.values():
        for url in (provider.base_url, *provider.regions.values()):
            assert clean_address(provider, url).base_url == provider.root(url)


@pytest.mark.parametrize(
    "typed",
    [
        *("", "  ", "ftp://example.com", "http://", "https://?", "http://[::1", "a b.example", "http://a:99999"),
        *("http://a:0", "http://a\\b", "javascript:alert(1)", "file:///etc/passwd", "..", "http://a\n.example"),
        "http://x/" + "a" * 501,
    ],
)
def test_what_is_no_address_is_refused_with_an_example(typed: str) -> None:
    with pytest.raises(InvalidBaseURL, match=r"such as https://|write it like https://|longer than 500"):
        clean_address(PROVIDERS[OWN], typed)


def test_a_login_is_taken_out_of_an_address() -> None:
    address = clean_address(PROVIDERS[OWN], "https://me:p%40ss%3Aword@llm.example.com/v1/models")
    assert (address.base_url, address.login) == ("https://llm.example.com/v1", "me:p@ss:word")
    assert "p@ss" not in repr(address)
    assert clean_address(PROVIDERS[OWN], "https://token@llm.example.com").login == "token:"


@pytest.mark.parametrize(("typed", "login"), [("", ""), (" me:secret ", "me:secret"), ("me:", "me:"), ("ü:ß", "ü:ß")])
def test_a_login_is_a_user_and_a_password(typed: str, login: str) -> None:
    assert validate_login(typed) == login


@pytest.mark.parametrize("typed", ["secret", ":secret", "me:se\ncret", "me:" + "x" * 600])
def test_what_is_no_login_is_refused_without_repeating_it(typed: str) -> None:
    with pytest.raises(InvalidBaseURL) as refused:
        validate_login(typed)
    assert "se" not in str(refused.value).replace("user", "").replace("between", "") or "secret" not in str(
        refused.value
    )


@pytest.mark.parametrize(
    ("before", "after", "keeps"),
    [
        ("https://a.example/v1", "https://a.example/api/v1", True),
        ("http://a.example/v1", "https://a.example/v1", True),
        ("http://a.example:8080", "https://a.example:8080", True),
        ("https://a.example/v1", "http://a.example/v1", False),
        ("https://a.example", "https://b.example", False),
        ("https://a.example", "https://a.example.evil.example", False),
        ("https://a.example", "https://api.a.example", False),
        ("http://a.example:8080", "http://a.example:8081", False),
        ("https://a.example", "https://a.example:8443", False),
        (None, "https://a.example", False),
    ],
)
def test_a_key_stays_with_its_host(before: str | None, after: str, keeps: bool) -> None:
    assert keeps_key(before, after) is keeps


@pytest.mark.parametrize(
    ("slug", "base_url", "urls"),
    [
        (OWN, "http://a", ["http://a/models", "http://a/v1/models"]),
        (OWN, "http://a/api", ["http://a/api/models", "http://a/api/v1/models"]),
        (OWN, "http://a/v1", ["http://a/v1/models"]),
        (OWN, "http://a/v1beta/openai", ["http://a/v1beta/openai/models"]),
        (LMSTUDIO, "http://a", ["http://a/api/v1/models", "http://a/api/v0/models", "http://a/v1/models"]),
        (
            LMSTUDIO,
            "http://a/api/v0/models",
            ["http://a/api/v0/models", "http://a/api/v1/models", "http://a/v1/models"],
        ),
        (LMSTUDIO, "http://a/v1/models", ["http://a/v1/models", "http://a/api/v1/models", "http://a/api/v0/models"]),
        (VLLM, "http://a", ["http://a/v1/models"]),
        (OLLAMA, "http://a", ["http://a/api/tags"]),
        ("openai", "https://api.openai.com/v1", ["https://api.openai.com/v1/models"]),
    ],
)
def test_a_list_is_looked_for_at_other_paths_of_the_same_server(slug: str, base_url: str, urls: list[str]) -> None:
    provider = PROVIDERS[slug]
    path = provider.build_request(None).path
    assert [provider.url(address, path) for address in list_addresses(provider, base_url)] == urls
