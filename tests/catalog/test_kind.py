"""Which kind of model an id and a provider's fields make, and that the reason is always told."""

from __future__ import annotations

from typing import get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.catalog.kind import classify_model
from app.catalog.listing import Kind

BY_ID: dict[str, str] = {
    "chat": """
        o1 o1-mini o1-preview o1-pro o3 o3-mini o3-pro o4-mini o4-mini-2025-04-16 o3-deep-research chatgpt-4o-latest
        gpt-4o gpt-4o-mini gpt-4 gpt-4-0613 gpt-4-turbo gpt-3.5-turbo gpt-4.1-nano gpt-5 gpt-5-pro gpt-5.4 gpt-5-codex
        codex-mini-latest computer-use-preview gpt-4o-search-preview gpt-4o-mini-search-preview gpt-5-search-api
        gpt-4o-audio-preview gpt-audio gpt-audio-mini gpt-5.3-chat-latest gpt-oss-120b
        claude-opus-4-6 claude-3-5-haiku-20241022 claude-3-haiku-20240307
        gemini-2.5-flash gemini-3-pro-preview gemini-2.0-flash-lite gemma-3-27b-it gemini-robotics-er-1.5-preview
        gemini-2.5-computer-use-preview-10-2025 learnlm-2.0-flash-experimental gemini-flash-latest
        openai/gpt-oss-120b llama-3.3-70b-versatile meta-llama/llama-4-scout-17b-16e-instruct qwen/qwen3-32b
        moonshotai/kimi-k2-instruct-0905 compound-beta groq/compound-mini allam-2-7b deepseek-r1-distill-llama-70b
        anthropic/claude-haiku-4.5 ~anthropic/claude-haiku-latest openrouter/auto qwen/qwen3-coder:free z-ai/glm-5.1
        qwen/qwen3-vl-32b-instruct meta-llama/llama-3.2-11b-vision-instruct mistralai/voxtral-small-24b-2507
        x-ai/grok-4 cohere/command-a perplexity/sonar-pro nothing-anyone-ever-heard-of
    """,
    "embedding": """
        text-embedding-3-small text-embedding-3-large text-embedding-ada-002 text-embedding-004 gemini-embedding-001
        embedding-gecko-001 embedding-001 nomic-embed-text BAAI/bge-m3 intfloat/e5-large-v2 voyage-3-large
    """,
    "rerank": "qwen3-reranker-8b rerank-v3.5 BAAI/bge-reranker-v2-m3 qwen3-vl-reranker",
    "audio": """
        tts-1 tts-1-hd gpt-4o-mini-tts playai-tts playai-tts-arabic canopylabs/orpheus-v1-english
        gemini-2.5-flash-preview-tts gemini-2.5-pro-preview-tts
    """,
    "transcription": """
        whisper-1 whisper-large-v3 whisper-large-v3-turbo distil-whisper-large-v3-en gpt-4o-transcribe
        gpt-4o-mini-transcribe gpt-4o-transcribe-diarize
    """,
    "image": """
        dall-e-2 dall-e-3 gpt-image-1 gpt-image-1-mini chatgpt-image-latest imagen-4.0-generate-001
        gemini-2.5-flash-image gemini-2.0-flash-exp-image-generation gemini-3-pro-image-preview nano-banana-pro-preview
        black-forest-labs/flux-1-schnell
    """,
    "video": "sora-2 sora-2-pro veo-3.1-generate-preview veo-2.0-generate-001",
    "moderation": """
        omni-moderation-latest omni-moderation-2024-09-26 text-moderation-stable meta-llama/llama-guard-4-12b
        llama-guard-3-8b meta-llama/llama-prompt-guard-2-86m openai/gpt-oss-safeguard-20b
    """,
    "realtime": """
        gpt-4o-realtime-preview gpt-4o-mini-realtime-preview gpt-realtime gpt-realtime-mini
        gemini-2.0-flash-live-001 gemini-live-2.5-flash-preview gemini-2.5-flash-native-audio-latest
    """,
    "completion": "babbage-002 davinci-002 gpt-3.5-turbo-instruct gpt-3.5-turbo-instruct-0914",
    "other": "aqa models/aqa",
}
# Ids of our own making, at least one for each rule.
BY_RULE: dict[str, str] = {
    "chat": """
        voxtral-small-2604 lab/voxtral-small-24b qwen4-omni-plus gpt-6-audio-preview gpt-6-search-preview
        o5-deep-research amazon.nova-2-lite-v9:0 gpt-4o-canvas-2024-09-25 minimax-m3 cosmos-reason3-8b parsec-7b
        stylist-8b erasmus-7b decidua-3b rewarding-chat mediocre-7b vanguard-70b nova-2-pro gen-4-chat sonar-pro
        stablelm-2-12b-chat llama-3-base-camp text-davy aurora-7b wander-13b qwen3-235b-a22b-2507
    """,
    "embedding": """
        HugeEmbeddings-9B EmbeddingsTiny lab/myembedding uae-large-v2 lab/zembed-2 sentence-transformers/any voyage-9
        jina-clip-v3 openai/clip-vit-large lab/colbert-xl lab/any-rtrvr-v2 gme-any-vl-2b
    """,
    "rerank": "lab/zerank-3 voyage-rerank-9 myreranker-8b lab/prerank-base",
    "ocr": """
        lab/tinyOCR-2 parse-v9 lab/nemotron-parse-2 doc-intelligence/prebuilt-layout dots.ocr mistral-ocr-9
        pp-structurev9
    """,
    "image": """
        amazon.nova-canvas-v9:0 stable-outpaint inpaint-pro erase-v2 replace-background-and-relight search-and-recolor
        stable-style-transfer virtual-try-on-009 lab/tryon lab/image-to-image-3 lab/text-to-image lab/image-to-3d
        leonardo-ai/anything lab/sd3.5-large sd1.5 lab/trellis-3 recraftv9 imagen9
        wanx-v9 wanx9.1-t2i-turbo imageedit-9 lab/ssd-1b lab/realistic-vision-v9 imagegeneration@009 stability/anything
    """,
    "video": """
        pony-2.0-r2v lab/s2v-14b lab/reference-to-video minimax-h7 gen4.7 amazon-nova-reel-2 cosmos-transfer3-2b wan3.1
        lab/video-to-video lab/lip-sync viduq9-turbo pika-9 lab/omnihuman wan9.2-kf2v-flash luma/ray-2 runwayml/any
    """,
    "audio": """
        fish-audio/any eleven_turbo_v9 lab/text-to-sound deepgram/aura-9 tts-realtime-9 lab/voice-clone-2
        aws_polly/any chirp-3-hd
    """,
    "transcription": """
        voxtral-mini-2602 deepgram/any nova-2-phonecall fish-audio/transcribe-9 lab/audio-to-text assemblyai/best
        lab/speech-to-text-2 base-finance nova-3-medical enhanced-meeting nova-general flux-general-en chirp_9
    """,
    "realtime": "qwen9-livetranslate-flash lab/native-audio-2 voice-s2s",
    "moderation": "lab/qwen3guard-4b lab/content-safety-2 granite-guardian-9 nemoguard-topic-control virtueguard-text",
    "completion": "text-bison text-unicorn@009 gpt-35-turbo-instruct code-gecko code-cushman-009",
    "other": "ai_decide lab/decider-2 lab/llama-70b-reward lab/email-classifier decision-models/any",
}
TABLE = [
    (model_id, kind)
    for table in (BY_ID, BY_RULE)
    for kind, model_ids in table.items()
    for model_id in model_ids.split()
]


@pytest.mark.parametrize(("model_id", "kind"), TABLE)
def test_an_id_alone_tells_the_kind(model_id: str, kind: str) -> None:
    decision = classify_model(model_id)
    assert decision.kind == kind
    assert decision.reason


@pytest.mark.parametrize(
    ("model_id", "outputs", "kind", "reason"),
    [
        ("a-name", ["text"], "chat", "the provider lists text among its outputs"),
        ("a-name", ["text", "audio"], "chat", "the provider lists text among its outputs"),
        ("a-name", ["image"], "image", "the provider lists its output as image"),
        ("a-name", ["speech"], "audio", "the provider lists its output as speech"),
        ("a-name", ["transcription"], "transcription", "the provider lists its output as transcription"),
        ("a-name", ["embeddings"], "embedding", "the provider lists its output as embeddings"),
        ("a-name", ["smell", "taste"], "other", "the provider lists its output as smell, taste"),
        ("gpt-4o", ["video"], "video", "the provider lists its output as video"),
        ("live-and-let-live", ["text"], "chat", "the provider lists text among its outputs"),
        ("openai/gpt-5-image", ["image", "text"], "image", "“image” in its id"),
        ("meta-llama/llama-guard-4-12b", ["text"], "moderation", "“guard” in its id"),
    ],
)
def test_listed_outputs_come_before_the_id(model_id: str, outputs: list[str], kind: str, reason: str) -> None:
    assert classify_model(model_id, outputs=outputs) == (kind, reason)


@pytest.mark.parametrize("declared", [kind for kind in get_args(Kind) if kind != "chat"])
def test_what_a_provider_declares_wins(declared: Kind) -> None:
    assert classify_model("gpt-4o", declared=declared, because="it says so", outputs=["text"]) == (
        declared,
        "it says so",
    )


def test_a_declared_chat_model_stays_one_whatever_its_name_suggests() -> None:
    assert classify_model("live-sora-davinci", declared="chat", because="it says so") == ("chat", "it says so")


@pytest.mark.parametrize(
    ("model_id", "kind"),
    [
        ("meta-llama/llama-guard-4-12b", "moderation"),
        ("mistral-ocr-latest", "ocr"),
        ("gemini-2.5-flash-preview-tts", "audio"),
    ],
)
def test_a_guard_or_a_voice_that_is_declared_as_chat_is_none(model_id: str, kind: str) -> None:
    assert classify_model(model_id, declared="chat", because="it says so").kind == kind


def test_a_too_generous_declaration_gives_way_to_the_id() -> None:
    generous = classify_model(
        "gemini-live-2.5-flash", declared="chat", because="it supports generateContent", prefer_id=True
    )
    assert generous.kind == "realtime"
    assert classify_model("gemini-2.5-pro", declared="chat", because="so", prefer_id=True) == ("chat", "so")


@pytest.mark.parametrize("model_id", ["voxtral-mini-2507", "leonardo-ai/a-writer", "gen4-chat", "any-base-medical"])
def test_a_weak_rule_does_not_outweigh_a_declared_chat_model(model_id: str) -> None:
    assert classify_model(model_id).kind != "chat"
    assert classify_model(model_id, declared="chat", because="it says so") == ("chat", "it says so")
    assert classify_model(model_id, declared="chat", because="so", prefer_id=True).kind == "chat"
    assert classify_model(model_id, outputs=("text",)).kind == "chat"


def test_an_instruct_model_that_only_completes_is_a_chat_model_where_the_provider_serves_it_as_one() -> None:
    assert classify_model("gpt-3.5-turbo-instruct").kind == "completion"
    assert classify_model("gpt-3.5-turbo-instruct", outputs=("text",)).kind == "chat"


def test_what_only_completes_at_its_maker_chats_where_it_is_resold() -> None:
    assert classify_model("openai/gpt-3.5-turbo-instruct") == (
        "chat",
        "it bears its maker's name, and whoever resells models serves them as chat",
    )


@pytest.mark.parametrize(
    ("model_id", "kind"),
    [
        ("wan9.6-t2i", "image"),
        ("wan9.6-image", "image"),
        ("wan9-i2i-preview", "image"),
        ("klingai/kling-v9-image", "image"),
        ("runway/gen9-image", "image"),
        ("wan9.6-t2v", "video"),
        ("kling/image-to-video", "video"),
        ("grok-imagine-video", "video"),
    ],
)
def test_what_a_model_does_comes_before_its_family(model_id: str, kind: str) -> None:
    assert classify_model(model_id).kind == kind


@pytest.mark.parametrize(
    ("provider", "model_id", "kind"),
    [
        ("deepgram", "nova-9", "transcription"),
        ("deepgram", "aura-9", "audio"),
        ("aws_polly", "neural", "audio"),
        ("stability", "conservative", "image"),
        ("runwayml", "act_two", "video"),
    ],
)
def test_a_provider_of_one_kind_tells_it_where_the_id_does_not(provider: str, model_id: str, kind: str) -> None:
    assert classify_model(model_id, provider=provider).kind == kind
    assert classify_model("a-name", provider=provider, outputs=("text",)).kind == "chat"
    assert classify_model("a-name", provider="openrouter").kind == "chat"


def test_letter_case_and_prefixes_do_not_matter() -> None:
    assert classify_model("OpenAI/Whisper-Large-V3").kind == "transcription"
    assert classify_model("models/text-embedding-004").kind == "embedding"


@pytest.mark.parametrize(
    "model_id", ["liveliness-7b", "adapter-chat", "embedded-systems-coder", "soraya-8b", "veolia-1"]
)
def test_a_word_counts_only_as_a_whole_word(model_id: str) -> None:
    assert classify_model(model_id).kind == "chat"


@settings(max_examples=200, deadline=None, derandomize=True)
@given(model_id=st.text(max_size=60), outputs=st.lists(st.text(min_size=1, max_size=10), max_size=3))
def test_any_id_has_a_kind_and_a_reason(model_id: str, outputs: list[str]) -> None:
    decision = classify_model(model_id, outputs=outputs)
    assert decision.kind in get_args(Kind)
    assert decision.reason
