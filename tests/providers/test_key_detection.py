"""Whose a pasted key is: by its form, by its variable's name, or asked; and nothing of it told on the way."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.providers import PROVIDERS, key_detection
from app.providers.contract import PLAIN_SK
from app.providers.key_detection import (
    Detection,
    InvalidKey,
    ParsedPaste,
    PasteTooLarge,
    invalid_key_reason,
    parse_key,
    parse_paste,
)

BEFORE_ANY_END = date(2025, 1, 1)
BODY = "aB3dE6gH9jK2mN5pQ8sT1vW4yZ7bC0eF"
PREFIXES = sorted({prefix for provider in PROVIDERS.values() for prefix in provider.key_prefixes})
VARIABLES = {name: slug for slug, provider in PROVIDERS.items() for name in provider.key_variables}


def only(text: str) -> Detection:
    reading = parse_paste(text, BEFORE_ANY_END)
    assert reading.unrecognised == ()
    (find,) = reading.detections
    return find


def slugs(find: Detection) -> list[str]:
    return list(dict.fromkeys(place.slug for place in find.choices))


# ------------------------------------------------------------------ by form


@pytest.mark.parametrize(
    ("key", "slug"),
    [
        ("sk-ant-api03-" + BODY, "anthropic"),
        ("sk-or-v1-" + "0a" * 32, "openrouter"),
        ("sk-proj-" + BODY, "openai"),
        ("sk-svcacct-" + BODY, "openai"),
        ("sk-" + "a1" * 10 + "T3BlbkFJ" + "b2" * 10, "openai"),
        ("sk-helicone-abcdefg-abcdefg-abcdefg-abcdefg", "helicone"),
        ("gsk_" + BODY, "groq"),
        ("AIza" + BODY + "abc", "google"),
        ("AQ.Ab" + BODY, "google"),
        ("xai-" + BODY, "xai"),
        ("hf_" + BODY, "huggingface"),
        ("nvapi-" + BODY, "nvidia-nim"),
        ("pplx-" + BODY, "perplexity"),
        ("fw_" + BODY, "fireworks"),
        ("tgp_v1_" + BODY, "together"),
        ("rc_" + BODY, "featherless"),
        ("csk-" + BODY, "cerebras"),
        ("cpk_" + BODY, "chutes"),
        ("vck_" + BODY, "vercel-ai-gateway"),
        ("github_pat_" + BODY, "github-models"),
        ("ghp_" + BODY, "github-models"),
        ("aimo-" + BODY, "aimo"),
    ],
)
def test_a_form_of_one_company_alone_is_certain(key: str, slug: str) -> None:
    find = only(key)
    assert (find.choices[0].slug, find.is_certain, find.key) == (slug, True, key)
    assert only(f"SOMETHING_ELSE={key}").choices[0].slug == slug
    # A form says more than a name: people keep OpenRouter's key in OpenAI's variable.
    other = "OPENAI_API_KEY" if slug != "openai" else "GROQ_API_KEY"
    assert only(f"{other}={key}").choices[0].slug == slug


def test_every_prefix_that_a_provider_file_names_is_recognised() -> None:
    for slug, provider in PROVIDERS.items():
        for hint in provider.key_hint.split(" or "):
            prefix = hint.split("…")[0]
            if "…" not in hint or len(prefix) < 3 or prefix.startswith(("xxx", "{", "0123")):
                continue
            found = parse_paste(prefix + ".".join([BODY] * (3 if prefix == "eyJ" else 1)), BEFORE_ANY_END).detections
            assert found and slug in slugs(found[0]), (slug, hint)
            if hint == "sk-…":
                assert PLAIN_SK in provider.key_patterns, slug


def test_no_prefix_is_the_beginning_of_another() -> None:
    for one in PREFIXES:
        assert not [other for other in PREFIXES if other != one and other.startswith(one)]


@pytest.mark.parametrize(
    ("key", "first", "among"),
    [
        ("sk-" + "0123456789abcdef" * 2, "deepseek", "alibaba"),
        ("sk-" + BODY, "openai", "moonshot"),
        ("sk_" + BODY, "novita", "novita"),
        ("sk_live_" + BODY, "hyperbolic", "novita"),
        ("a1" * 16, "azure", "mistral"),
        (BODY, "mistral", "deepinfra"),
        (BODY + "12345678", "cohere", "cohere"),
        ("0a" * 32, "together", "together"),
        ("01234567-89ab-cdef-0123-456789abcdef", "sambanova", "sambanova"),
        ("01234567-89ab-cdef-0123-456789abcdef:" + "0a" * 16, "fal", "fal"),
        ("0a" * 16 + "." + "aB3dE6gH9jK2mN5p", "zhipu", "zhipu"),
        ("sk-lm-abcdefgh:abcdefgh", "lmstudio", "lmstudio"),
    ],
)
def test_a_form_of_several_is_asked_about(key: str, first: str, among: str) -> None:
    find = only(key)
    assert not find.is_certain
    assert slugs(find)[0] == first and among in slugs(find)


@pytest.mark.parametrize("name", ["SECRET_KEY", "STRIPE_SECRET_KEY", "DJANGO_SALT", "SESSION_ID"])
@pytest.mark.parametrize("value", ["a1" * 16, "sk_live_" + BODY, "0a" * 32, BODY, "v1.0-" + BODY])
def test_other_secrets_of_a_file_are_not_taken_for_keys(name: str, value: str) -> None:
    reading = parse_paste(f"{name}={value}")
    assert reading.detections == () and [one.reason for one in reading.unrecognised] == ["holds no key that we know"]


# ------------------------------------------------------------------ by name


@pytest.mark.parametrize("slug", sorted(set(PROVIDERS)))
def test_every_provider_has_a_variable(slug: str) -> None:
    find = only(f"{PROVIDERS[slug].key_variable}=some-value-0123")
    assert (find.choices[0].slug, find.is_certain) == (slug, True)


@pytest.mark.parametrize(("name", "slug"), sorted(VARIABLES.items()))
def test_names_that_other_programs_use_are_known(name: str, slug: str) -> None:
    assert only(f"{name}=some-value-0123").choices[0].slug == slug


@pytest.mark.parametrize(
    "line",
    [
        "MISTRAL_API_KEY=VALUE",
        "export MISTRAL_API_KEY=VALUE",
        "  export   MISTRAL_API_KEY = 'VALUE'  ",
        'MISTRAL_API_KEY="VALUE" # of work',
        "MISTRAL_API_KEY=VALUE # of work",
        "mistral_api_key: VALUE",
        '  "MISTRAL_API_KEY": "VALUE",',
        "- MISTRAL_API_KEY=VALUE",
        '$env:MISTRAL_API_KEY = "VALUE"',
        "set MISTRAL_API_KEY=VALUE",
        "MISTRAL_API_KEY=VALUE\r",
        "# a comment\r\n\r\nMISTRAL_API_KEY=VALUE\r\n",
    ],
)
def test_a_line_is_read_as_files_and_shells_write_it(line: str) -> None:
    find = only(line.replace("VALUE", BODY))
    assert (find.key, find.choices[0].slug, find.evidence) == (BODY, "mistral", "MISTRAL_API_KEY")


def test_an_address_beside_a_key_says_whose_it_is() -> None:
    china = only(f"MOONSHOT_API_KEY=sk-{BODY}\nMOONSHOT_BASE_URL=https://api.moonshot.cn/v1")
    assert (china.choices[0].region, len(china.choices)) == ("China", 2)
    assert only(f"OPENAI_API_KEY={BODY}\nOPENAI_BASE_URL=https://api.deepseek.com/v1").choices[0].slug == "deepseek"
    own = only(f"OPENAI_BASE_URL=https://models.example.com/v1/\nOPENAI_API_KEY={BODY}")
    assert (own.choices[0].slug, own.base_url, own.host) == (
        "openai-compatible",
        "https://models.example.com/v1",
        "models.example.com",
    )
    azure = only(f"AZURE_OPENAI_API_KEY={BODY}\nAZURE_OPENAI_ENDPOINT=https://mine.openai.azure.com")
    assert (azure.choices[0].slug, azure.needs_base_url(azure.choices[0])) == ("azure", False)
    alone = only(f"AZURE_OPENAI_API_KEY={BODY}")
    assert alone.needs_base_url(alone.choices[0])
    assert only(f"LLM_API_KEY={BODY}\nLLM_BASE_URL=https://api.groq.com/openai/v1").choices[0].slug == "groq"
    behind_login = only(f"OPENAI_API_KEY={BODY}\nOPENAI_BASE_URL=https://me:p%40ss@example.com/v1?key=1")
    assert behind_login.choices[0].slug == "openai-compatible", "not OpenAI, which would be sent another server's key"
    assert (behind_login.base_url, behind_login.login) == ("https://example.com/v1", "me:p@ss")
    assert "p@ss" not in repr(behind_login)


def test_a_service_account_is_one_key_over_many_lines() -> None:
    account = json.dumps({"type": "service_account", "private_key": "-----BEGIN\nabc\n"}, indent=2)
    reading = parse_paste(f"GROQ_API_KEY=gsk_{BODY}\n{account}\nxai-{BODY}\n")
    assert [find.choices[0].slug for find in reading.detections] == ["groq", "google-vertex", "xai"]
    assert [find.line for find in reading.detections] == [1, 2, 6] and reading.unrecognised == ()
    assert json.loads(reading.detections[1].key)["type"] == "service_account"
    assert only(f"GOOGLE_CREDENTIALS='{json.dumps(json.loads(account))}'").choices[0].slug == "google-vertex"
    assert only(f'{{\n  "GROQ_API_KEY": "gsk_{BODY}"\n}}').choices[0].slug == "groq"


def test_a_key_of_a_provider_that_ended_is_named_and_never_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    """GitHub Models ended on 30 July 2026."""
    ended = replace(PROVIDERS["github-models"], ends_on="2026-07-30")
    monkeypatch.setitem(key_detection._tables().providers, "github-models", ended)  # type: ignore[arg-type]
    for line in (f"github_pat_{BODY}", f"GITHUB_MODELS_API_KEY={BODY}"):
        assert parse_paste(line, date(2026, 7, 29)).detections
        reading = parse_paste(line, date(2026, 7, 30))
        assert reading.detections == ()
        assert reading.unrecognised[0].reason == "holds a key of GitHub Models, which ended on 30 July 2026"
        with pytest.raises(InvalidKey, match="ended on 30 July 2026"):
            parse_key(f"github_pat_{BODY}", ended, date(2026, 8, 1))


# ------------------------------------------------------------------ what is left out


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("OPENAI_API_KEY=", "is empty"),
        ("OPENAI_API_KEY=''", "is empty"),
        ("OPENAI_API_KEY=sk-...", "holds a placeholder, not a key"),
        ("OPENAI_API_KEY=your_openai_api_key_here", "holds a placeholder, not a key"),
        ("OPENAI_API_KEY=<key>", "holds a placeholder, not a key"),
        ("OPENAI_API_KEY=${KEY_OF_PROD}", "holds a placeholder, not a key"),
        ("OPENAI_API_KEY=changeme", "holds a placeholder, not a key"),
        ("OPENAI_API_KEY=abc", "holds something too short for a key"),
        ("OPENAI_API_KEY=" + "x1" * 4_001, "holds something longer than any key (8000 characters at most)"),
        ('OPENAI_API_KEY="two words of it"', "has spaces or characters that no key has"),
        ("OPENAI_API_KEY=umläut-0123456", "has spaces or characters that no key has"),
        ("r8_" + BODY, "holds a key of Replicate, which is not among our providers"),
        ("DATABASE_URL=postgres://u:p@h/db", "holds no key that we know"),
        ("dear diary, today", "holds no key that we know"),
    ],
)
def test_a_line_without_a_key_says_why_and_nothing_of_itself(line: str, why: str) -> None:
    reading = parse_paste(line)
    if line.startswith("DATABASE_URL"):  # an address, were it one of the web
        reading = parse_paste(line.replace("_URL", ""))
    assert reading.detections == ()
    assert [(one.line, one.reason) for one in reading.unrecognised] == [(1, why)]


def test_comments_blank_lines_and_brackets_are_not_worth_a_word() -> None:
    assert parse_paste("# OPENAI_API_KEY=sk-proj-abcdefgh\n\n// x\n; y\n{\n}\n[]\n   \n") == ParsedPaste((), ())


def test_one_line_may_hold_several_and_the_same_key_counts_once() -> None:
    reading = parse_paste(f"gsk_{BODY}, xai-{BODY}; and pplx-{BODY}\nGROQ_API_KEY=gsk_{BODY}")
    assert [find.choices[0].slug for find in reading.detections] == ["groq", "xai", "perplexity"]
    assert [(one.line, one.reason) for one in reading.unrecognised] == [(2, "is the same key as line 1")]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("x" * (64 * 1024 + 1), "more than 64 kB"),
        ("\n" * 500, "more than 500 lines"),
        ("\n".join(f"gsk_{BODY}{number}" for number in range(51)), "more than 50 keys"),
    ],
)
def test_more_than_is_looked_at_is_refused_with_a_sentence(text: str, said: str) -> None:
    with pytest.raises(PasteTooLarge, match=said):
        parse_paste(text)


@pytest.mark.parametrize(
    "text", ["{" * 60_000, "[" * 60_000, '{"a":' * 10_000, "=" * 9_000, "a=" * 9_000, " " * 60_000]
)
def test_hostile_text_is_read_within_a_moment(text: str) -> None:
    assert parse_paste(text).detections == ()


# ------------------------------------------------------------------ never


_PIECES = st.sampled_from(
    [
        *PREFIXES,
        "OPENAI_API_KEY=",
        "export ",
        "_BASE_URL=https://",
        "'",
        '"',
        "{",
        "}",
        "\r\n",
        "\n",
        ":",
        "sk-",
    ]
)


@given(st.lists(_PIECES | st.text(max_size=40), max_size=30).map("".join))
def test_it_never_raises_whatever_is_pasted(text: str) -> None:
    reading = parse_paste(text)
    assert all(
        (find.choices and invalid_key_reason(find.key) == "") or find.key[0] == "{" for find in reading.detections
    )


@given(
    st.sampled_from(["", "OPENAI_API_KEY=", "NOBODY_KNOWS=", "export GROQ_API_KEY=", '"MISTRAL_API_KEY": '])
    | st.sampled_from(list(PREFIXES)),
    st.text(alphabet="QWZJ", min_size=12, max_size=60),
)
def test_no_repr_and_no_reason_holds_the_secret(before: str, secret: str) -> None:
    reading = parse_paste(before + secret + f"\nOPENAI_BASE_URL=https://example.com/{secret}")
    assert secret not in repr(reading) and secret not in str(reading)
