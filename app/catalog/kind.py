"""Decides whether a model is a chat, embedding, image … model, with the reason.

The provider's own fields come first, then rules over the words of the id. An unknown id is a chat model: hiding a
usable model costs its user more than showing one too many.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from functools import lru_cache
from typing import NamedTuple

from app.catalog.listing import Kind


class KindDecision(NamedTuple):
    kind: Kind
    reason: str


def _deepgram(*tiers: str) -> str:
    """Deepgram's names: a tier and its training domain ("nova-3-medical"); the tiers alone could be anyone's.

    From developers.deepgram.com/docs/model, read in November 2026.
    """
    subjects = "general meeting phonecall voicemail finance conversationalai video medical drivethru automotive atc"
    return " ".join(f"{tier}-{subject}" for tier in tiers for subject in subjects.split())


# A word matches a whole word only, with or without a version ("imagen4", "recraftv3", "wan2.1"); words joined by "-"
# match adjacent words, with any separator between them. Adjacent words are more specific, so they are tried first.
# Then the order decides: "qwen3-vl-reranker" is a reranker, "gpt-4o-realtime" realtime, "whisper" a transcriber, though
# both also take audio. A model's task comes before its family: "wan2.6-t2i" makes images, though Wan began with video.
_WORDS: tuple[tuple[Kind, str], ...] = (
    ("rerank", "rerank reranker rerankers rerankqa zerank"),
    (
        "ocr",
        """
        ocr nougat parse parser prebuilt-read prebuilt-document prebuilt-layout prebuilt-invoice prebuilt-receipt
        doc-intelligence document-intelligence textract pp-structure
        """,
    ),
    (
        "embedding",
        """
        embedding embeddings embed embeds embedder embedcode embedqa zembed ada bge gte gme rtrvr minilm mpnet gecko
        retriever nvclip siglip bert modernbert roberta distilbert sbert colbert e5 voyage voyageai clip-vit jina-clip
        jina-col jina-embed nvembed sentence-transformers text2vec contriever splade uae-large uae-base
        """,
    ),
    (
        "moderation",
        """
        moderation moderations guard guardrail safeguard shieldgemma llamaguard nemoguard wildguard
        qwen3guard virtueguard polyguard duoguard guardian content-safety topic-control
        """,
    ),
    ("audio", "tts"),
    ("realtime", "realtime live livetranslate bidi sonic s2s native-audio audio-dialog"),
    (
        "transcription",
        """
        whisper transcribe transcription transcriptions asr stt parakeet canary paraformer sensevoice scribe nova3
        conformer fastconformer telespeechasr telespeech speech-to-text audio-to-text diarize diarization wav2vec
        chirp
        """,
    ),
    ("transcription", _deepgram("nova", "nova-2", "nova-3", "flux")),
    (
        "audio",
        """
        orpheus playai speech cosyvoice sambert kokoro lyria suno music musicgen audiogen voiceclone melo melotts
        chattts fishaudio chatterbox dia csm sonata aura higgsaudio voicedesign zonos xtts indextts polly
        elevenlabs eleven-multilingual eleven-monolingual eleven-turbo eleven-flash eleven-v2 eleven-v3
        text-to-speech text-to-audio text-to-music text-to-sound audio-to-audio stable-audio
        voice-gen voice-generation voice-clone voice-cloning voice-design voice-enrollment
        voicegen voicecloning voice-conversion cartesia-sonic hume-octave rime-arcana rime-mist chirp-3-hd
        """,
    ),
    (
        "image",
        """
        stable-diffusion stable-image nano-banana aura-flow image-edit text-to-image image-to-image sketch-to-image
        style-transfer virtual-try-on try-on remove-background replace-background background-removal text-to-3d
        image-to-3d search-and-recolor search-and-replace nova-canvas lucid-origin realistic-vision ssd-1b emu3-gen
        """,
    ),
    (
        "video",
        """
        video videos t2v i2v v2v r2v s2v ti2v kf2v flf2v animate lipsync lip-sync text-to-video image-to-video
        video-to-video reference-to-video speech-to-video stable-video nova-reel dream-machine minimax-h
        cosmos-transfer cosmos-predict ray-2 ray-3 ray-flash
        """,
    ),
    (
        "image",
        """
        image images imagegen imagegeneration imageedit t2i i2i img2img txt2img inpaint inpainting outpaint
        outpainting uncrop erase eraser recolor relight relighting tryon upscale upscaler rembg birefnet
        """,
    ),
    (
        "video",
        """
        veo sora wan kling hailuo runway seedance hunyuanvideo cogvideox pixverse ray2 vidu viduq ltx ltxv mochi
        skyreels framepack pika omnihuman vace
        """,
    ),
    (
        "image",
        """
        dall dalle imagen flux sdxl diffusion imagine midjourney recraft ideogram seedream seededit kolors banana
        esrgan controlnet playground dreamshaper photon photomaker pixart kandinsky cogview sd1.5 sd3 sd3.5 sana
        hidream kontext trellis hunyuan3d wanx bria animagine juggernaut
        """,
    ),
    (
        "completion",
        """
        davinci babbage curie fim turbo-instruct
        text-bison text-unicorn code-gecko code-cushman
        """,
    ),
    ("other", "aqa time-series deplot decide decider decision-models reward classifier"),
)

# Makers and providers of one kind of model only, with names that tell nothing ("nova-2", "neural", "conservative").
_SINGLE_KIND_MAKERS: dict[str, Kind] = {
    "assemblyai": "transcription",
    "aws-polly": "audio",
    "black-forest-labs": "image",
    "deepgram": "transcription",
    "elevenlabs": "audio",
    "fish-audio": "audio",
    "leonardo-ai": "image",
    "lumalabs": "video",
    "quiverai": "image",
    "recraft": "image",
    "reducto": "ocr",
    "runwayml": "video",
    "stability": "image",
    "voyage": "embedding",
}

# Weak rules: tried last, and overruled by a provider that declares a chat model. Makers and families of one kind only,
# and Voxtral Mini, which was a chat model that takes audio until February 2026 and has been a transcriber since.
_HINTS: tuple[tuple[Kind, str], ...] = (
    *((kind, maker) for maker, kind in _SINGLE_KIND_MAKERS.items()),
    ("transcription", "voxtral-mini"),
    ("transcription", _deepgram("base", "enhanced")),
    ("video", "luma gen3a gen4"),
)

# Reliable inside a longer word too: "GigaEmbeddings", "olmOCR".
_SUBSTRINGS = (
    ("rerank", KindDecision("rerank", "“rerank” in its id")),
    ("embedding", KindDecision("embedding", "“embedding” in its id")),
)
_ENDINGS = (("ocr", KindDecision("ocr", "“ocr” in its id")),)

_OUTPUT_KIND: dict[str, Kind] = {
    "image": "image",
    "video": "video",
    "audio": "audio",
    "speech": "audio",
    "music": "audio",
    "transcription": "transcription",
    "embedding": "embedding",
    "embeddings": "embedding",
    "rerank": "rerank",
    "moderation": "moderation",
}

# These also output text, so providers' fields call them chat models.
_LOOKS_LIKE_CHAT = frozenset({"moderation", "ocr", "rerank", "embedding", "transcription", "audio", "image"})

_DEFAULT = KindDecision("chat", "nothing in its id says otherwise")
_TEXT_OUTPUT = KindDecision("chat", "the provider lists text among its outputs")
# gpt-3.5-turbo-instruct is a completion model at OpenAI, a chat model as openai/gpt-3.5-turbo-instruct at resellers.
_RESELLER_CHAT = KindDecision("chat", "it bears its maker's name, and whoever resells models serves them as chat")


def classify_model(
    model_id: str,
    *,
    declared: Kind | None = None,
    because: str = "",
    outputs: Collection[str] = (),
    prefer_id: bool = False,
    provider: str = "",
) -> KindDecision:
    """The kind of `model_id`, and why.

    declared, because: the kind by the provider's own fields, and the reason ("its type is embedding").
    outputs: the output modalities that it lists. prefer_id: the provider declares "chat" too generously (Google's
    generateContent covers speech and image models), so a word in the id outweighs it.
    provider: its slug, for the few that serve one kind only under names that tell nothing.
    """
    if declared and declared != "chat":
        return KindDecision(declared, because)
    by_output = _classify_by_outputs(outputs) if outputs else None
    if by_output and by_output.kind != "chat":
        return by_output
    by_id, sure = _classify_by_id(model_id)
    chat = KindDecision(declared, because) if declared else by_output
    if chat is None:
        return by_id or (_classify_by_provider(provider) if provider else None) or _DEFAULT
    if by_id and sure and (by_id.kind in _LOOKS_LIKE_CHAT or (declared and prefer_id)):
        return by_id
    return chat


def _classify_by_outputs(outputs: Collection[str]) -> KindDecision:
    if "text" in outputs:
        return _TEXT_OUTPUT
    for output in outputs:
        if kind := _OUTPUT_KIND.get(output):
            return KindDecision(kind, f"the provider lists its output as {output}")
    return KindDecision("other", f"the provider lists its output as {', '.join(outputs)}")


def _classify_by_provider(provider: str) -> KindDecision | None:
    kind = _SINGLE_KIND_MAKERS.get(provider.lower().replace("_", "-"))
    return KindDecision(kind, f"{provider} serves nothing else") if kind else None


class _Rule(NamedTuple):
    rank: tuple[int, int]
    rest: list[str]
    """The words that must follow the first."""
    decision: KindDecision
    sure: bool
    """Whether it outweighs a provider's declaration as a chat model."""


_BLANKS = bytes(ord(chr(code).lower()) if code < 128 and chr(code).isalnum() else 32 for code in range(256))
_DIGITS = "0123456789"
_DIGIT_BYTES = _DIGITS.encode()


def _tokenize(text: str, dropped: bytes = b"") -> str:
    """The text in lower case, with a space for everything but ASCII letters and digits."""
    return text.encode("ascii", "replace").translate(_BLANKS, dropped).decode("ascii")


def _build_rules() -> dict[str, list[_Rule]]:
    rules: dict[str, list[_Rule]] = {}
    for order, (kind, spelled) in enumerate((*_WORDS, *_HINTS)):
        sure = order < len(_WORDS)
        for text in spelled.split():
            first, *rest = _tokenize(text).split()
            rank = (0 if rest else 1) if sure else 2
            rules.setdefault(first, []).append(
                _Rule((rank, order), rest, KindDecision(kind, f"“{text}” in its id"), sure)
            )
    return rules


_RULES = _build_rules()
"""Rules by their first word: one look-up per word of an id."""
_RULE_WORDS = frozenset(_tokenize(word, _DIGIT_BYTES) + version for word in _RULES for version in ("", "v"))
"""The rules' first words without digits, also as in "recraftv3". Most ids have none of them: a fast rejection."""


@lru_cache(maxsize=65_536)
def _classify_by_id(model_id: str) -> tuple[KindDecision | None, bool]:
    """The kind by the id, and whether it outweighs a provider's declaration as a chat model."""
    letters = _tokenize(model_id, _DIGIT_BYTES)
    rule = None if _RULE_WORDS.isdisjoint(letters.split()) else _best_rule(_tokenize(model_id).split())
    if rule is None:
        return _classify_by_substring(letters)
    if rule.decision.kind == "completion" and "/" in model_id:
        return _RESELLER_CHAT, False
    return rule.decision, rule.sure


def _best_rule(words: list[str]) -> _Rule | None:
    best: _Rule | None = None
    for at, word in enumerate(words):
        for rule in _RULES.get(word) or _rules_for_version(word):
            if (best is None or rule.rank < best.rank) and _follows(rule.rest, words, at + 1):
                best = rule
    return best


def _rules_for_version(word: str) -> Sequence[_Rule]:
    bare = _strip_version(word)
    return _RULES.get(bare, ()) if bare is not word and len(bare) >= 3 else ()


def _follows(rest: list[str], words: list[str], at: int) -> bool:
    if not rest:
        return True
    following = words[at : at + len(rest)]
    return following == rest or [_strip_version(word) for word in following] == rest


def _strip_version(word: str) -> str:
    return word if word[-1] > "9" else word.rstrip(_DIGITS).removesuffix("v")


def _classify_by_substring(letters: str) -> tuple[KindDecision | None, bool]:
    for part, decision in _SUBSTRINGS:
        if part in letters:
            return decision, True
    for ending, decision in _ENDINGS:
        if ending in letters and any(word.removesuffix("v").endswith(ending) for word in letters.split()):
            return decision, True
    return None, False
