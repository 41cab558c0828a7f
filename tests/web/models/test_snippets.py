"""The lines to copy: each parses, names the right parameters, address and variable, and holds no key."""

from __future__ import annotations

import ast
import json
import shlex

import pytest
from flask import Flask

from app.demo.simulator import Simulator
from app.providers import PROVIDERS
from app.sync.run import SyncContext
from app.web.models import snippets
from tests.conftest import Person
from tests.sync.test_run import named, synced

# What the libraries take, as inspect.signature and the fields' aliases say of openai 2.54.0, litellm 1.106.2,
# langchain-openai 1.7.3, langchain-anthropic 1.7.7 and langchain-google-genai 4.4.2. LiteLLM documents api_base.
TAKES = {
    "OpenAI": {"api_key", "base_url"},
    "create": {"model", "messages"},
    "completion": {"model", "messages", "api_base", "api_key"},
    "ChatOpenAI": {"model", "base_url", "api_key"},
    "ChatAnthropic": {"model", "api_key"},
    "ChatGoogleGenerativeAI": {"model", "api_key"},
}
HOSTILE = 'it\'s "a" $(touch x) `id` \\ model\n;é'
SERVED = [slug for slug in PROVIDERS if snippets.build_snippets(slug, "m")]


def snippet_texts(slug: str, model_id: str = "lab/model", base_url: str | None = None) -> dict[str, str]:
    return {snippet.tool: snippet.text for snippet in snippets.build_snippets(slug, model_id, base_url)}


def calls(code: str) -> dict[str, dict[str, ast.expr]]:
    """Name of each call → its keyword arguments."""
    tree = ast.parse(code)
    compile(tree, "snippet", "exec")
    found = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
    return {
        node.func.id if isinstance(node.func, ast.Name) else node.func.attr: {
            word.arg: word.value for word in node.keywords if word.arg
        }
        for node in found
        if isinstance(node.func, ast.Name | ast.Attribute)
    }


@pytest.mark.parametrize("model_id", ["lab/model", HOSTILE], ids=["plain", "hostile"])
@pytest.mark.parametrize("slug", SERVED)
def test_every_line_parses_and_means_this_model(slug: str, model_id: str) -> None:
    lines = snippet_texts(slug, model_id)
    assert list(lines) == ["curl", "openai-python", "LiteLLM", "LangChain"]
    words = shlex.split(lines["curl"].replace("\\\n", ""))
    assert words[0] == "curl" and words.count("-d") == 1 and len(words) == 2 + 2 * words.count("-H") + 2
    assert json.loads(words[-1])["model"] == model_id
    assert f"${slug.upper().replace('-', '_')}_API_KEY" in lines["curl"]
    for tool in ("openai-python", "LiteLLM", "LangChain"):
        for name, arguments in calls(lines[tool]).items():
            if name in TAKES:
                assert arguments.keys() <= TAKES[name], (tool, name)
            else:
                assert name in ("print", "invoke"), name
        models = [
            ast.literal_eval(arguments["model"]) for arguments in calls(lines[tool]).values() if "model" in arguments
        ]
        assert len(models) == 1 and models[0].endswith(model_id)
        assert f'os.environ["{snippets.key_variable(slug)}"]' in lines[tool]


@pytest.mark.parametrize(
    ("slug", "url"),
    [
        ("openai", "https://api.openai.com/v1"),
        ("anthropic", "https://api.anthropic.com/v1"),
        ("google", "https://generativelanguage.googleapis.com/v1beta/openai"),
        ("groq", "https://api.groq.com/openai/v1"),
        ("openrouter", "https://openrouter.ai/api/v1"),
        ("mistral", "https://api.mistral.ai/v1"),
        ("deepseek", "https://api.deepseek.com"),
        ("cohere", "https://api.cohere.ai/compatibility/v1"),
        ("perplexity", "https://api.perplexity.ai"),
        ("aihubmix", "https://aihubmix.com/v1"),
        ("github-models", "https://models.github.ai/inference"),
        ("cerebras", "https://api.cerebras.ai/v1"),
    ],
)
def test_the_address_is_that_of_chats_and_not_that_of_lists(slug: str, url: str) -> None:
    assert f'base_url="{url}"' in snippet_texts(slug)["openai-python"]


def test_curl_asks_each_as_it_wants_to_be_asked() -> None:
    claude = snippet_texts("anthropic", "claude-x")["curl"]
    assert "https://api.anthropic.com/v1/messages" in claude and '"x-api-key: $ANTHROPIC_API_KEY"' in claude
    assert "anthropic-version: 2023-06-01" in claude and '"max_tokens"' in claude
    assert (
        '-H "api-key: $AZURE_API_KEY"' in snippet_texts("azure", base_url="https://mine.services.ai.azure.com")["curl"]
    )
    assert "https://api.openai.com/v1/chat/completions" in snippet_texts("openai")["curl"]


def test_libraries_of_a_lab_are_used_where_there_are_some() -> None:
    assert 'model="anthropic/claude-x"' in snippet_texts("anthropic", "claude-x")["LiteLLM"]
    assert 'model="gemini/gemini-x"' in snippet_texts("google", "gemini-x")["LiteLLM"]
    assert (
        'model="openai/lab/model"' in snippet_texts("groq")["LiteLLM"]
        and "api_base=" in snippet_texts("groq")["LiteLLM"]
    )
    assert (
        "ChatAnthropic(" in snippet_texts("anthropic")["LangChain"]
        and "ChatGoogle" in snippet_texts("google")["LangChain"]
    )


@pytest.mark.parametrize(
    ("slug", "base", "url"),
    [
        ("ollama", "http://10.0.0.5:11434", "http://10.0.0.5:11434/v1"),
        ("lmstudio", "http://10.0.0.5:1234/", "http://10.0.0.5:1234/v1"),
        ("vllm", "http://10.0.0.5:8000", "http://10.0.0.5:8000/v1"),
        ("azure", "https://mine.services.ai.azure.com", "https://mine.services.ai.azure.com/openai/v1"),
        ("openai-compatible", "https://models.example.com/v1", "https://models.example.com/v1"),
        ("moonshot", "https://api.moonshot.cn/v1", "https://api.moonshot.cn/v1"),
    ],
)
def test_a_server_of_ones_own_and_a_region_are_named(slug: str, base: str, url: str) -> None:
    assert f'base_url="{url}"' in snippet_texts(slug, base_url=base)["openai-python"]


def test_where_no_line_would_work_the_page_says_why() -> None:
    assert set(PROVIDERS) - set(SERVED) == {"google-vertex", "fal"}
    assert all(snippets.unsupported_reason(slug).endswith(".") for slug in set(PROVIDERS) - set(SERVED))


def test_the_page_shows_them_to_whoever_has_the_model_and_never_a_key(
    app: Flask, alice: Person, bob: Person, simulator: Simulator, means: SyncContext
) -> None:
    simulator.set_models("openai", named("gpt-4o"))
    alice.add_key("openai", "sk-secret-of-alice-123456")
    synced(alice, means)
    page = alice.sign_in().client.get("/models/use?m=openai/gpt-4o").text
    assert "OPENAI_API_KEY" in page and page.count("data-copy=") == 5 and "sk-secret" not in page
    assert 'href="/models/use?m=openai/gpt-4o"' in alice.client.get("/models").text
    assert bob.sign_in().client.get("/models/use?m=openai/gpt-4o").status_code == 404
    assert alice.client.get("/models/use").status_code == 404
