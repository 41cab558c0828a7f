"""The reader for any server, on small answers in the shapes of servers that people run.

From the servers' documentation and code and the public reports named beside the values, read from September to
December 2026.
"""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest

from app.catalog.listing import ListedModel
from app.providers import PROVIDERS
from app.providers.contract import Page


def read(*entries: dict[str, Any]) -> Page:
    return PROVIDERS["openai-compatible"].read(json.dumps({"object": "list", "data": entries}).encode())


def read_one(entry: dict[str, Any]) -> ListedModel:
    page = read({"id": "acme-x", **entry})
    assert not page.skipped, page.skipped
    (model,) = page.models
    return model


@pytest.mark.parametrize(
    ("entry", "context"),
    [
        pytest.param(
            {"meta": {"n_ctx": 8192, "n_ctx_train": 40960}}, 8192, id="llama.cpp: what it serves (agentty#49)"
        ),
        pytest.param({"context_length": 40960, "meta": {"n_ctx": 8192}}, 8192, id="served before possible"),
        pytest.param({"meta": {"n_ctx_train": 40960}}, 40960, id="llama.cpp before n_ctx"),
        pytest.param({"meta": {"n_ctx": 0, "n_ctx_train": 40960}}, 40960, id="0 is unknown"),
        pytest.param({"loaded_context_length": 4096, "max_context_length": 32768}, 4096, id="LM Studio: loaded"),
        pytest.param({"max_context_length": 32768, "state": "not-loaded"}, 32768, id="LM Studio: not loaded"),
        pytest.param({"max_model_len": 32768}, 32768, id="vLLM, SGLang"),
        pytest.param({"context_length": "202752"}, 202752, id="digits in a text"),
        pytest.param({"context_length": "128k"}, None, id="128k is 128,000 or 131,072"),
        pytest.param({"context_length": None, "max_input_tokens": 9}, 9, id="null is no value"),
        pytest.param({"token_limits": {"context_window": 262144}}, 262144, id="Volcengine (oh-my-pi#4201)"),
        pytest.param({"token_limits": {"max_input_token_length": 229376}}, 229376, id="Volcengine: input only"),
        pytest.param({"limits": {"max_context_window_tokens": 128000}}, 128000, id="limits at the top"),
        pytest.param(
            {"capabilities": {"limits": {"max_context_window_tokens": 128000, "max_prompt_tokens": 111}}},
            128000,
            id="Copilot (gh-copilot-chat.el#45)",
        ),
        pytest.param({"capabilities": {"limits": {"max_prompt_tokens": 128000}}}, 128000, id="Copilot: prompt only"),
        pytest.param({"model_spec": {"availableContextTokens": 198000}}, 198000, id="Venice (term-llm#319)"),
        pytest.param({"model_info": {"max_input_tokens": 200000}}, 200000, id="LiteLLM /model/info"),
        pytest.param({"model_limits": {"max_sequence_length": 131072}}, 131072, id="watsonx"),
        pytest.param({"limit": {"context": 200000, "output": 8192}}, 200000, id="models.dev's words"),
        pytest.param({"inputTokenLimit": 1048576}, 1048576, id="Google's words"),
        pytest.param({"max-context-window": 1000}, 1000, id="dashes"),
        pytest.param({"info": {"meta": {"context_length": 5}}}, 5, id="Open WebUI"),
        pytest.param({"properties": [{"property_id": "context_window", "value": "24000"}]}, 24000, id="Cloudflare"),
        pytest.param({"default_parameters": {"context_length": 5}}, None, id="a default is no limit"),
    ],
)
def test_the_context_is_read_from_the_name_it_has_there(entry: dict[str, Any], context: int | None) -> None:
    assert read_one(entry).context_length == context


@pytest.mark.parametrize(
    ("entry", "output"),
    [
        ({"max_output_tokens": "65536"}, 65536),
        ({"token_limits": {"max_output_token_length": 65536, "max_reasoning_token_length": 1}}, 65536),
        ({"capabilities": {"limits": {"max_output_tokens": 16384}}}, 16384),
        ({"model_spec": {"maxCompletionTokens": 32000}}, 32000),
        ({"top_provider": {"max_completion_tokens": 7}}, 7),
        ({"limit": {"output": 8192}}, 8192),
        ({"max_tokens": 4096}, None),  # here the output, there the context
    ],
)
def test_the_output_limit_is_read_from_the_name_it_has_there(entry: dict[str, Any], output: int | None) -> None:
    assert read_one(entry).max_output_tokens == output


@pytest.mark.parametrize(
    ("field", "kinds"),
    [
        (  # Volcengine's task_type and domain, in its own spelling
            "task_type",
            {
                "TextGeneration": "chat",
                "VisualQuestionAnswering": "chat",
                "TextEmbedding": "embedding",
                "TextToImage": "image",
                "TextToVideo": "video",
                "ImageToVideo": "video",
                "TextToSpeech": "audio",
            },
        ),
        (  # Cloudflare's tasks and Hugging Face's pipeline tags
            "task",
            {
                "Text Generation": "chat",
                "Text Embeddings": "embedding",
                "Text-to-Image": "image",
                "Automatic Speech Recognition": "transcription",
                "Text Classification": "other",
                "Object Detection": "other",
                "text-to-video": "video",
                "text_to_video": "video",
                "TEXT TO VIDEO": "video",
                "feature-extraction": "embedding",
                "image-text-to-text": "chat",
                "llm/v1/chat": "chat",
                "llm/v1/completions": "completion",
                "llm/v1/embeddings": "embedding",
                "unheard-of": "chat",
            },
        ),
        (  # LiteLLM's modes
            "mode",
            {
                "chat": "chat",
                "responses": "chat",
                "completion": "completion",
                "embedding": "embedding",
                "image_generation": "image",
                "image_edit": "image",
                "video_generation": "video",
                "audio_transcription": "transcription",
                "audio_speech": "audio",
                "rerank": "rerank",
                "moderation": "moderation",
                "realtime": "realtime",
                "ocr": "ocr",
                "search": "other",
                "vector_store": "other",
            },
        ),
        (  # Venice's types and others'
            "type",
            {
                "text": "chat",
                "llm": "chat",
                "vlm": "chat",
                "image": "image",
                "inpaint": "image",
                "upscale": "image",
                "music": "audio",
                "tts": "audio",
                "asr": "transcription",
                "stt": "transcription",
                "video": "video",
                "embeddings": "embedding",
                "model": "chat",
            },
        ),
        (
            "model_type",
            {"LLM": "chat", "embedding": "embedding", "rerank": "rerank", "image": "image", "video": "video"},
        ),
        ("pipeline_tag", {"text-generation": "chat", "text-ranking": "rerank", "fill-mask": "other"}),
        ("capabilities", {"embedding": "embedding", "rerank": "rerank"}),
    ],
)
def test_the_kind_is_read_from_the_word_that_the_server_uses(field: str, kinds: dict[str, str]) -> None:
    for word, kind in kinds.items():
        for value in (word, [word]):
            assert read_one({field: value}).kind == kind, (field, value)


@pytest.mark.parametrize(
    ("entry", "kind"),
    [
        pytest.param(
            {"supported_endpoint_types": ["openai", "embeddings"]}, "embedding", id="New API's default beside it"
        ),
        pytest.param({"supported_endpoint_types": ["jina-rerank"]}, "rerank", id="New API"),
        pytest.param({"supported_endpoint_types": ["openai-video"]}, "video", id="New API (CLIProxyAPI#2487)"),
        pytest.param({"supported_endpoint_types": ["anthropic", "openai"]}, "chat", id="New API: two ways to chat"),
        pytest.param({"id": "bge-m3", "supported_endpoint_types": ["openai"]}, "embedding", id="the id outweighs it"),
        pytest.param({"supported_endpoints": ["/chat/completions", "/responses"]}, "chat", id="Copilot"),
        pytest.param(
            {"supported_endpoints": ["/v1/completions", "/v1/chat/completions"]}, "chat", id="chat among them"
        ),
        pytest.param({"supported_endpoints": ["/v1/embeddings"]}, "embedding", id="a path"),
        pytest.param({"endpoints": ["POST /v1/images/edits"]}, "image", id="with its method"),
        pytest.param({"endpoints": ["https://x.example/v1/audio/transcriptions"]}, "transcription", id="a whole URL"),
        pytest.param({"endpoint": "audio/speech"}, "audio", id="one path"),
        pytest.param({"capabilities": {"type": "embeddings"}}, "embedding", id="Copilot (litellm#13564)"),
        pytest.param({"capabilities": {"type": "completion"}}, "completion", id="Copilot's code completion"),
        pytest.param({"type": "model", "capabilities": {"type": "embeddings"}}, "embedding", id="an empty word before"),
        pytest.param(
            {"capabilities": ["completion", "vision"]}, "chat", id="Ollama and llama.cpp call chat completion"
        ),
        pytest.param({"capabilities": {"chat_completion": True, "embeddings": True}}, "chat", id="Azure"),
        pytest.param(
            {"capabilities": {"search": True, "image": True, "tools": True}}, "chat", id="abilities of a chat model"
        ),
        pytest.param({"model_info": {"mode": "embedding"}}, "embedding", id="LiteLLM /model/info"),
        pytest.param({"task": {"id": "c329a1f9", "name": "Text Embeddings"}}, "embedding", id="Cloudflare"),
        pytest.param({"functions": [{"id": "autoai_rag"}, {"id": "text_chat"}]}, "chat", id="watsonx"),
        pytest.param({"functions": [{"id": "rerank"}]}, "rerank", id="watsonx reranker"),
        pytest.param({"categories": ["reranker"]}, "rerank", id="GPUStack"),
        pytest.param({"categories": ["speech_to_text"]}, "transcription", id="GPUStack"),
        pytest.param({"domain": "ImageGeneration", "task_type": ["TextToVideo"]}, "video", id="the exact one first"),
        pytest.param({"id": "whisper-1", "model_type": "audio"}, "transcription", id="Xinference: audio is both"),
        pytest.param({"id": "kokoro", "model_type": "audio"}, "audio", id="Xinference: audio that speaks"),
        pytest.param({"outputModalities": ["EMBEDDING"]}, "embedding", id="Bedrock"),
        pytest.param({"architecture": {"modality": "text->image"}}, "image", id="OpenRouter's arrow"),
    ],
)
def test_the_kind_is_read_wherever_it_stands(entry: dict[str, Any], kind: str) -> None:
    assert read_one(entry).kind == kind


@pytest.mark.parametrize(
    ("entry", "inputs", "vision"),
    [
        ({"modalities": {"input_modalities": ["text", "image", "video"]}}, ("image", "text", "video"), True),
        ({"modalities": {"input": ["text"], "output": ["text"]}}, ("text",), False),
        ({"architecture": {"input_modalities": ["text", "image"]}}, ("image", "text"), True),
        ({"architecture": {"modality": "text+image->text"}}, ("image", "text"), True),
        ({"inputModalities": ["TEXT", "IMAGE"]}, ("image", "text"), True),
        ({"input_modalities": {"text": True, "image": False}}, ("text",), False),
        ({"capabilities": {"supports": {"vision": True}}}, (), True),
        ({"capabilities": {"limits": {"vision": {"max": 1}}, "supports": {"vision": True}}}, (), True),
        ({"model_spec": {"capabilities": {"supportsVision": False}}}, (), False),
        ({"capabilities": {"image_input": {"supported": True}}}, (), True),
        ({"capabilities": ["vision", "tools"]}, (), True),
        ({"capabilities": ["tools"]}, (), None),
    ],
)
def test_what_it_sees_is_read(entry: dict[str, Any], inputs: tuple[str, ...], vision: bool | None) -> None:
    model = read_one(entry)
    assert (model.input_modalities, model.vision) == (inputs, vision)


@pytest.mark.parametrize(
    ("entry", "capabilities"),
    [
        ({"features": {"tools": {"function_calling": True}}}, ["tools"]),
        ({"capabilities": {"supports": {"tool_calls": True, "streaming": True}}}, ["streaming", "tools"]),
        (
            {"capabilities": {"supports": {"structured_outputs": True, "reasoning_effort": ["low"]}}},
            ["reasoning", "structured_output"],
        ),
        (
            {
                "model_spec": {
                    "capabilities": {
                        "supportsFunctionCalling": True,
                        "supportsReasoning": True,
                        "supportsResponseSchema": True,
                    }
                }
            },
            ["tools", "reasoning", "structured_output"],
        ),
        ({"model_info": {"supports_function_calling": True, "supports_vision": True}}, ["tools", "vision"]),
        (
            {"supported_parameters": ["tools", "reasoning", "structured_outputs"]},
            ["tools", "reasoning", "structured_output"],
        ),
        ({"supported_features": ["function-calling", "structured-outputs"]}, ["tools", "structured_output"]),
        ({"model_ability": ["chat", "tools", "vision"]}, ["tools", "vision"]),
        ({"supports_tool_calling": False, "supports_reasoning": None}, []),
        ({"responseStreamingSupported": True}, ["streaming"]),
    ],
)
def test_capabilities_are_read_from_flags_and_lists(entry: dict[str, Any], capabilities: list[str]) -> None:
    assert read_one(entry).capabilities == capabilities


def test_a_flag_that_is_off_is_a_no_and_a_missing_one_is_unknown() -> None:
    model = read_one({"supports_tool_calling": False})
    assert (model.tools, model.reasoning) == (False, None)


@pytest.mark.parametrize(
    ("entry", "prices"),
    [
        pytest.param({"pricing": {"input": 1, "output": 2}}, (None, None), id="per what?"),
        pytest.param({"pricing": {"prompt": "0.000001"}}, (None, None), id="OpenRouter's names, anyone's unit"),
        pytest.param({"billing": {"token_prices": {"input_price": 100}}}, (None, None), id="Copilot's credits"),
        pytest.param({"input_cost_per_token": 3e-06, "output_cost_per_token": 1.5e-05}, ("3", "15"), id="LiteLLM"),
        pytest.param(
            {"model_info": {"input_cost_per_token": 0, "output_cost_per_token": 0}}, (None, None), id="its default"
        ),
        pytest.param(
            {"input_price_per_million": 0.5, "output_price_per_million_tokens": "2"}, ("0.5", "2"), id="by name"
        ),
        pytest.param(
            {"pricing": {"inputCostPerMtok": 0.5, "output_cost_per_1m_tokens": 0}}, ("0.5", "0"), id="by name"
        ),
        pytest.param({"currency": "CNY", "input_price_per_million": 4}, (None, None), id="another currency"),
        pytest.param(
            {"model_spec": {"pricing": {"input": {"usd": 1, "diem": 9}, "output": {"usd": 3.2}}}},
            ("1", "3.2"),
            id="Venice",
        ),
        pytest.param(
            {
                "properties": [
                    {
                        "property_id": "price",
                        "value": [
                            {"unit": "per M input tokens", "price": 0.29, "currency": "USD"},
                            {"unit": "per M output tokens", "price": 2.25, "currency": "USD"},
                        ],
                    }
                ]
            },
            ("0.29", "2.25"),
            id="Cloudflare",
        ),
        pytest.param(
            {
                "properties": [
                    {"property_id": "price", "value": [{"unit": "per audio minute", "price": 1, "currency": "USD"}]}
                ]
            },
            (None, None),
            id="Cloudflare's other units",
        ),
    ],
)
def test_a_price_counts_only_where_its_unit_is_certain(entry: dict[str, Any], prices: tuple[str | None, ...]) -> None:
    model = read_one(entry)
    expected = tuple(None if price is None else Decimal(price) for price in prices)
    assert (model.input_per_million, model.output_per_million) == expected


@pytest.mark.parametrize(
    "model_id",
    [
        "*",
        "openai/*",
        "bedrock/us.*",
        "anthropic/claude-*",
        "all-team-models",
        "all-proxy-models",
        "no-default-models",
        "None",
        "none",
        "null",
        "koboldcpp/inactive",
        "mmproj-model-f16",
        "mmproj-model-f16.gguf",
        "/models/gemma/mmproj-F16.gguf",
        "gemma-3-4b-it.mmproj-Q8_0",
        "{model}",
        "<your-model>",
    ],
)
def test_what_is_no_model_is_left_out_and_the_list_stays_whole(model_id: str) -> None:
    page = read({"id": model_id}, {"id": "acme-chat"})
    assert [model.id for model in page.models] == ["acme-chat"]
    assert len(page.ignored) == 1
    assert not page.skipped


@pytest.mark.parametrize("model_id", ["auto", "default", "nonesuch-7b", "Qwen_Qwen3-8B", "team-models"])
def test_an_odd_id_is_still_a_model(model_id: str) -> None:
    assert [model.id for model in read({"id": model_id}).models] == [model_id]


@pytest.mark.parametrize(
    ("entry", "offered"),
    [
        pytest.param({"status": "Shutdown"}, False, id="Volcengine"),
        pytest.param({"status": "Retiring"}, True, id="Volcengine: still there"),
        pytest.param({"status": ""}, True, id="Volcengine: as usual"),
        pytest.param({"policy": {"state": "disabled"}}, False, id="Copilot (hermes-agent#104863)"),
        pytest.param(
            {"policy": {"state": "enabled"}, "model_picker_enabled": False}, True, id="Copilot's menu (opencode#42083)"
        ),
        pytest.param({"state": "not-loaded"}, True, id="LM Studio (letta-code#3493)"),
        pytest.param({"status": {"value": "unloaded"}}, True, id="llama.cpp's router"),
        pytest.param({"status": {"value": "unloaded", "failed": True}}, True, id="llama.cpp: failed the last time"),
        pytest.param({"state": {"ready": "NOT_READY"}}, True, id="Databricks: starting"),
        pytest.param({"modelLifecycle": {"status": "LEGACY"}}, True, id="Bedrock"),
        pytest.param({"model_spec": {"offline": False}}, True, id="Venice"),
        pytest.param({"status": "retired"}, False, id="retired"),
        pytest.param({"lifecycle_status": "SHUT_DOWN"}, False, id="another spelling"),
        pytest.param({"status": "active", "deprecated": True}, True, id="deprecated is not gone"),
        pytest.param({"enabled": False}, False, id="switched off"),
        pytest.param({"is_active": False}, False, id="Open WebUI"),
        pytest.param({"archived": True}, False, id="archived"),
        pytest.param(
            {"prompt_caching": {"enabled": False}, "finetuning": {"status": "disabled"}}, True, id="a feature's state"
        ),
    ],
)
def test_a_model_that_its_server_no_longer_serves_is_left_out(entry: dict[str, Any], offered: bool) -> None:
    page = read({"id": "acme-x", **entry})
    assert (len(page.models), len(page.ignored), len(page.skipped)) == (int(offered), int(not offered), 0)


@pytest.mark.parametrize(
    ("entry", "model_id"),
    [
        pytest.param({"model_id": "ibm/granite", "label": "granite"}, "ibm/granite", id="watsonx"),
        pytest.param(
            {"modelId": "amazon.nova-pro-v1:0", "modelName": "Nova Pro"}, "amazon.nova-pro-v1:0", id="Bedrock"
        ),
        pytest.param(
            {"model_name": "prod", "litellm_params": {"model": "openai/gpt-5"}}, "prod", id="LiteLLM /model/info"
        ),
        pytest.param({"name": "databricks-claude", "task": "llm/v1/chat"}, "databricks-claude", id="Databricks"),
        pytest.param(
            {"id": "0123456789abcdef0123456789abcdef", "name": "my-endpoint"}, "my-endpoint", id="Databricks, own"
        ),
        pytest.param(
            {"id": "429b9e8b-9a2c-4d7e-8f00-112233445566", "name": "@cf/meta/llama"}, "@cf/meta/llama", id="Cloudflare"
        ),
        pytest.param(
            {"id": "sha256:00ff", "tags": ["ai/smollm2:latest"], "config": {}}, "ai/smollm2:latest", id="Docker"
        ),
        pytest.param({"id": "0123456789abcdef", "name": "My own model"}, "0123456789abcdef", id="a name for people"),
        pytest.param({"id": "acme-chat", "name": "acme/chat"}, "acme-chat", id="an id that reads as one"),
    ],
)
def test_the_id_is_the_one_by_which_the_server_takes_the_model(entry: dict[str, Any], model_id: str) -> None:
    assert [model.id for model in read(entry).models] == [model_id]


def test_an_entry_without_an_id_is_skipped_not_ignored() -> None:
    page = read({"id": ""}, {"id": None}, {"object": "model"}, {"id": 7, "name": "x"})
    assert (len(page.skipped), page.ignored, page.models) == (4, [], [])
