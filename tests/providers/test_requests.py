"""URL and authentication of each provider's request."""

from __future__ import annotations

import re
from datetime import date
from urllib.parse import urlencode

import pytest

from app.providers import PROVIDERS, get
from app.providers.addresses import resolve_address
from app.providers.contract import join_url

KEY = "sk-marked-0123456789-mark"
every_provider = pytest.mark.parametrize("slug", list(PROVIDERS))

# Written out, so that changing any of them is deliberate. A provider outside of these tables needs no line here.
PUBLIC = {
    *("openrouter", "featherless", "huggingface", "near", "fal", "chutes", "aihubmix", "helicone"),
    *("vercel-ai-gateway", "ollama", "lmstudio", "vllm", "openai-compatible"),
}
ON_OWN_SERVERS = {"azure", "ollama", "lmstudio", "vllm", "openai-compatible"}
ON_LOCAL_SERVERS = ON_OWN_SERVERS - {"azure"}
FIRST_PAGES = {
    "mistral": "https://api.mistral.ai/v1/models",
    "deepseek": "https://api.deepseek.com/models",
    "together": "https://api.together.xyz/v1/models",
    "fireworks": "https://api.fireworks.ai/inference/v1/models",
    "deepinfra": "https://api.deepinfra.com/v1/openai/models",
    "xai": "https://api.x.ai/v1/models",
    "cerebras": "https://api.cerebras.ai/v1/models",
    "cohere": "https://api.cohere.com/v1/models?page_size=1000",
    "perplexity": "https://api.perplexity.ai/v1/models",
    "featherless": "https://api.featherless.ai/v1/models",
    "huggingface": "https://router.huggingface.co/v1/models",
    "google-vertex": "https://aiplatform.googleapis.com/v1beta1/publishers/google/models?pageSize=100",
    "near": "https://cloud-api.near.ai/v1/models",
    "fal": "https://api.fal.ai/v1/models?limit=100",
    "chutes": "https://llm.chutes.ai/v1/models",
    "aimo": "https://devnet.aimo.network/api/v1/models",
    "anannas": "https://api.anannas.ai/v1/models",
    "aihubmix": "https://aihubmix.com/api/v1/models",
    "helicone": "https://ai-gateway.helicone.ai/v1/models",
    "vercel-ai-gateway": "https://ai-gateway.vercel.sh/v1/models",
    "nebius": "https://api.tokenfactory.nebius.com/v1/models",
    "novita": "https://api.novita.ai/v3/openai/models",
    "alibaba": "https://dashscope-intl.aliyuncs.com/compatible-mode/v1/models",
    "silicon": "https://api.siliconflow.cn/v1/models",
    "moonshot": "https://api.moonshot.ai/v1/models",
    "zhipu": "https://api.z.ai/api/paas/v4/models",
    "cherryin": "https://open.cherryin.ai/v1/models",
    "sambanova": "https://api.sambanova.ai/v1/models",
    "nvidia-nim": "https://integrate.api.nvidia.com/v1/models",
    "hyperbolic": "https://api.hyperbolic.xyz/v1/models",
    "github-models": "https://models.github.ai/catalog/models",
    "poe": "https://api.poe.com/v1/models",
    "azure": "https://my-resource.services.ai.azure.com/openai/v1/models?api-version=preview",
    "ollama": "http://localhost:11434/api/tags",
    "lmstudio": "http://localhost:1234/api/v1/models",
    "vllm": "http://localhost:8000/v1/models",
    "openai-compatible": "http://localhost:8080/v1/models",
}


PINNED = {*FIRST_PAGES, "openai", "anthropic", "google", "groq", "openrouter"}


@pytest.mark.parametrize(
    ("slug", "cursor", "url", "params"),
    [
        ("openai", None, "https://api.openai.com/v1/models", {}),
        ("anthropic", None, "https://api.anthropic.com/v1/models", {"limit": "1000"}),
        ("anthropic", "claude-x", "https://api.anthropic.com/v1/models", {"limit": "1000", "after_id": "claude-x"}),
        ("google", None, "https://generativelanguage.googleapis.com/v1beta/models", {"pageSize": "1000"}),
        (
            "google",
            "Ch1=",
            "https://generativelanguage.googleapis.com/v1beta/models",
            {"pageSize": "1000", "pageToken": "Ch1="},
        ),
        ("groq", None, "https://api.groq.com/openai/v1/models", {}),
        ("openrouter", None, "https://openrouter.ai/api/v1/models", {}),
    ],
)
def test_a_page_is_asked_for_at_its_address(slug: str, cursor: str | None, url: str, params: dict[str, str]) -> None:
    request = PROVIDERS[slug].build_request(cursor)
    assert join_url(PROVIDERS[slug].base_url, request.path) == url
    assert dict(request.params) == params


@pytest.mark.parametrize(("slug", "address"), list(FIRST_PAGES.items()))
def test_the_first_page_is_asked_for_at_its_address(slug: str, address: str) -> None:
    request = PROVIDERS[slug].build_request(None)
    query = f"?{urlencode(request.params)}" if request.params else ""
    assert join_url(PROVIDERS[slug].base_url, request.path) + query == address


@pytest.mark.parametrize(
    ("slug", "cursor", "params"),
    [
        ("cohere", "Ch1=", {"page_size": "1000", "page_token": "Ch1="}),
        ("featherless", "2", {"page": "2"}),
        ("google-vertex", "Ch1=", {"pageSize": "100", "pageToken": "Ch1="}),
        ("fal", "Ch1=", {"limit": "100", "cursor": "Ch1="}),
        ("alibaba", "qwen-x", {"after": "qwen-x"}),
    ],
)
def test_the_page_that_follows_is_asked_for_by_its_cursor(slug: str, cursor: str, params: dict[str, str]) -> None:
    assert dict(PROVIDERS[slug].build_request(cursor).params) == params


@pytest.mark.parametrize(
    ("slug", "headers"),
    [
        ("openai", {"Authorization": f"Bearer {KEY}"}),
        ("anthropic", {"x-api-key": KEY}),
        ("google", {"x-goog-api-key": KEY}),
        ("groq", {"Authorization": f"Bearer {KEY}"}),
        ("openrouter", {"Authorization": f"Bearer {KEY}"}),
        ("azure", {"api-key": KEY}),
        ("fal", {"Authorization": f"Key {KEY}"}),
        ("google-vertex", {"Authorization": f"Bearer {KEY}"}),
    ],
)
def test_a_key_is_signed_into_its_header(slug: str, headers: dict[str, str]) -> None:
    assert dict(PROVIDERS[slug].sign(KEY)) == headers


@every_provider
def test_a_key_is_alone_in_one_header_with_its_scheme(slug: str) -> None:
    ((name, value),) = PROVIDERS[slug].sign(KEY).items()
    assert value == KEY if name != "Authorization" else value in (f"Bearer {KEY}", f"Key {KEY}")


@pytest.mark.parametrize("key", ["AIzaMarked0123456789", "AQ.marked-0123456789"])
def test_an_api_key_of_google_is_no_bearer(key: str) -> None:
    assert dict(PROVIDERS["google-vertex"].sign(key)) == {"x-goog-api-key": key}


def test_anthropic_is_told_the_version_of_its_api() -> None:
    assert dict(PROVIDERS["anthropic"].headers) == {"anthropic-version": "2023-06-01"}


@every_provider
def test_signing_leaves_no_trace_outside_its_headers(slug: str) -> None:
    provider = PROVIDERS[slug]
    provider.sign(KEY)
    assert KEY not in repr((provider, provider.build_request(None), provider.build_request("cursor")))


@every_provider
def test_a_provider_says_who_it_is(slug: str) -> None:
    provider = PROVIDERS[slug]
    assert get(slug) is provider
    assert provider.slug == slug
    assert provider.title and provider.key_hint and provider.description
    on_this_machine = bool(provider.base_url_example) and provider.base_url.startswith("http://localhost:")
    assert on_this_machine == (slug in ON_LOCAL_SERVERS) or slug not in PINNED
    assert on_this_machine or provider.base_url.startswith("https://")
    assert not provider.base_url.endswith("/")
    assert provider.site.startswith("https://") and provider.keys_url.startswith("https://")
    assert not provider.docs_url or provider.docs_url.startswith("https://")
    assert re.fullmatch("#[0-9a-f]{6}", provider.colour)
    assert not provider.ends_on or date.fromisoformat(provider.ends_on)


def test_an_unknown_provider_is_none() -> None:
    assert get("nobody") is None


def test_some_list_without_a_key() -> None:
    assert {slug for slug in PINNED if PROVIDERS[slug].public} == PUBLIC


def test_own_servers_have_an_example_and_list_what_is_private() -> None:
    assert {slug for slug in PINNED if PROVIDERS[slug].base_url_example} == ON_OWN_SERVERS
    own = [provider for provider in PROVIDERS.values() if provider.base_url_example]
    assert own == [provider for provider in PROVIDERS.values() if provider.private]
    for provider in own:
        assert resolve_address(provider, url=provider.base_url_example).base_url == provider.base_url_example
        assert not provider.regions


@every_provider
def test_regions_are_distinct_addresses_and_the_first_is_the_default(slug: str) -> None:
    regions = PROVIDERS[slug].regions
    assert all(url.startswith("https://") and not url.endswith("/") for url in regions.values())
    assert len(set(regions.values())) == len(regions) != 1
    assert not regions or next(iter(regions.values())) == PROVIDERS[slug].base_url


@every_provider
def test_documented_models_say_since_when_and_from_where(slug: str) -> None:
    documented = PROVIDERS[slug].documented
    if documented:
        assert date.fromisoformat(documented.as_of)
        assert documented.source.startswith("https://")
        assert documented.models
        assert all(model.documented == documented.as_of and model.kind_reason for model in documented.models)
        assert len({model.id for model in documented.models}) == len(documented.models)


def test_titles_and_variables_are_distinct() -> None:
    for name in ("title", "env_prefix"):
        assert len({getattr(provider, name) for provider in PROVIDERS.values()}) == len(PROVIDERS)


@pytest.mark.parametrize(
    ("base", "path", "url"),
    [
        ("https://host", "/v1/models", "https://host/v1/models"),
        ("https://host/", "/v1/models", "https://host/v1/models"),
        ("https://host/v1", "/v1/models", "https://host/v1/models"),
        ("https://host/v1/", "/v1/models", "https://host/v1/models"),
        ("https://host/openai/v1", "/openai/v1/models", "https://host/openai/v1/models"),
        ("https://host/openai", "/openai/v1/models", "https://host/openai/v1/models"),
        ("https://host/proxy", "/v1/models", "https://host/proxy/v1/models"),
        ("https://host/myv1", "/v1/models", "https://host/myv1/v1/models"),
        ("https://host/models", "/models", "https://host/models/models"),
    ],
)
def test_a_base_url_and_a_path_may_overlap(base: str, path: str, url: str) -> None:
    assert join_url(base, path) == url


@pytest.mark.parametrize(
    ("slug", "base", "url"),
    [
        ("ollama", "http://host:11434/v1", "http://host:11434/api/tags"),
        ("ollama", "http://host:11434/api", "http://host:11434/api/tags"),
        ("lmstudio", "http://host:1234/v1/", "http://host:1234/api/v1/models"),
        ("lmstudio", "http://host:1234/api/v1", "http://host:1234/api/v1/models"),
        ("openai-compatible", "http://host:8080/v1", "http://host:8080/v1/models"),
    ],
)
def test_what_is_pasted_behind_an_address_leads_to_the_list_all_the_same(slug: str, base: str, url: str) -> None:
    provider = PROVIDERS[slug]
    assert provider.url(base, provider.build_request(None).path) == url


def test_a_providers_variable_is_in_upper_case_with_underscores() -> None:
    assert PROVIDERS["google-vertex"].env_prefix == "GOOGLE_VERTEX"
