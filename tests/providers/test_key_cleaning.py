"""Keys as people paste them: what is cut off, what is left alone, and what is refused with a sentence.

Sources of the forms: superplanehq/superplane#6487, NousResearch/hermes-agent#966 and #2867, octos-org/octos#1727,
MiniMax-AI/MiniMax-M2#96, anthropics/claude-code#28091, iOfficeAI/AionUi#2726, and the companies' own quick starts.
"""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.config import load_server_keys
from app.providers import PROVIDERS, foreign_keys
from app.providers.key_cleaning import clean_key
from app.providers.key_detection import Detection, InvalidKey, parse_key, parse_paste

KEY = "sk-A1b2C3d4E5f6G7h8J9k0L1m2"
FORMS = [
    "KEY",
    "  KEY\t",
    "'KEY'",
    '"KEY"',
    "`KEY`",
    "\u201cKEY\u201d",
    "\u2018KEY\u2019",
    "\u00abKEY\u00bb",
    'KEY"',
    "'KEY",
    "KEY,",
    "KEY;",
    '"KEY",',
    "<KEY>",
    "(KEY)",
    "KEY\u200b",
    "\ufeffKEY",
    "\u00a0KEY\u2003",
    "\u2066KEY\u2069",
    "ACME_API_KEY=KEY",
    "ACME_API_KEY = 'KEY'",
    "export ACME_API_KEY=KEY",
    'export ACME_API_KEY="KEY";',
    'ACME_API_KEY="KEY" # of work',
    "ACME_API_KEY=KEY # of work",
    "set ACME_API_KEY=KEY",
    'setx ACME_API_KEY "KEY"',
    "set -gx ACME_API_KEY KEY",
    '$env:ACME_API_KEY = "KEY"',
    "ENV ACME_API_KEY=KEY",
    "- ACME_API_KEY=KEY",
    "docker run --rm -e ACME_API_KEY=KEY acme/app",
    'os.environ["ACME_API_KEY"] = "KEY"',
    "acme_api_key: KEY",
    'apiKey: "KEY",',
    '  "ACME_API_KEY": "KEY",',
    '{"ACME_API_KEY": "KEY"}',
    "const API_KEY = 'KEY';",
    "Bearer KEY",
    "bearer: KEY",
    "Bearer KEY,",
    'Bearer "KEY"',
    'Bearer "KEY",',
    "Bearer ACME_API_KEY=KEY",
    "ACME_API_KEY=Bearer KEY",
    "Token KEY",
    "Authorization: Bearer KEY",
    "authorization:Bearer KEY",
    "Authorization\uff1aBearer KEY",
    "Authorization: KEY",
    '"Authorization": "Bearer KEY",',
    "{'Authorization': 'Bearer KEY'}",
    'headers={"Authorization": "Bearer KEY", "Accept": "*/*"}',
    "x-api-key: KEY",
    "X-Goog-Api-Key: KEY",
    "-H 'x-api-key: KEY' \\",
    '-H "Authorization: Bearer KEY"',
    "curl https://api.acme.example/v1/models -H \"Authorization: Bearer KEY\" -H 'Accept: */*'",
    "curl -H 'api-key: KEY' https://api.acme.example/models",
]
WHOLE = [
    "01234567-89ab-cdef-0123-456789abcdef:0a0a0a0a",
    "abcdef67-89ab-cdef-0123-456789abcdef:0a0a0a0a",
    "sk-lm-abcdefgh:abcdefgh",
    "dGhpcyBpcyBhIGtleQ==",
    "dGhpcyBpcyBhIGtleQ=",
    "0a0a0a0a0a0a0a0a.aB3dE6gH",
    "key:with:colons",
]


@pytest.mark.parametrize("form", FORMS)
def test_a_key_is_taken_out_of_what_surrounds_it(form: str) -> None:
    assert clean_key(form.replace("KEY", KEY) if form.count("KEY") == 1 else _in_last_place(form)).key == KEY


@pytest.mark.parametrize("form", FORMS)
def test_every_way_in_cleans_alike(form: str) -> None:
    text = form.replace("KEY", KEY) if form.count("KEY") == 1 else _in_last_place(form)
    assert parse_key(text, PROVIDERS["openai"]) == KEY
    assert [one.key for one in parse_paste(text).detections] == [KEY]
    assert load_server_keys({"APP_ENV": "test", "OPENAI_API_KEY": text})["openai"].reveal() == KEY


def _in_last_place(form: str) -> str:
    before, _, after = form.rpartition("KEY")
    return f"{before}{KEY}{after}"


@pytest.mark.parametrize("key", WHOLE)
def test_punctuation_of_the_key_itself_stays(key: str) -> None:
    assert clean_key(key).key == clean_key(f"ACME_API_KEY={key}").key == clean_key(f'"{key}",').key == key


@given(st.text(alphabet="abcXYZ019-_.:=/+", min_size=8, max_size=60))
def test_cleaning_twice_changes_nothing(text: str) -> None:
    once = clean_key(f"ACME_API_KEY='{text}'").key
    assert clean_key(once).key in (once, clean_key(once).key)


@given(st.text(max_size=200))
def test_cleaning_never_raises_and_its_repr_holds_no_key(text: str) -> None:
    cleaned = clean_key(text)
    assert len(cleaned.key) < 4 or cleaned.key in cleaned.name or f"{cleaned.key}" not in repr(cleaned)[20:]


@pytest.mark.parametrize(
    "text", ["{" * 8_000, "Bearer " * 2_000, "=" * 8_000, "a=" * 4_000, "'\"" * 4_000, "-H " * 3_000]
)
def test_hostile_text_is_cleaned_within_a_moment(text: str) -> None:
    clean_key(text)


# ------------------------------------------------------------------ typed keys


def refusal(slug: str, text: str) -> str:
    with pytest.raises(InvalidKey) as raised:
        parse_key(text, PROVIDERS[slug])
    assert KEY not in str(raised.value)
    return str(raised.value)


@pytest.mark.parametrize(
    ("slug", "text", "said"),
    [
        ("openai", "", "too short"),
        ("openai", "sk-abc", "too short"),
        ("openai", "x" * 8_001, "longer than any key"),
        ("openai", f"{KEY} {KEY}", "has spaces or characters"),
        ("openai", "sk-umläut-0123456", "has spaces or characters"),
        ("openai", "your-api-key-here", "is a placeholder"),
        ("openai", "$OPENAI_API_KEY", "is a placeholder"),
        ("openai", "https://api.openai.com/v1", "is an address"),
        ("openai", "Authorization: Basic dXNlcjpwYXNzd29yZA==", "is a user name and password"),
        ("google-vertex", '{"type": "service_account", "private_key": ', "is not whole"),
        ("anthropic", "sk-ant-oat01-" + KEY, "a Claude subscription token"),
        ("anthropic", "CLAUDE_CODE_OAUTH_TOKEN=sk-ant-oat01-" + KEY, "console.anthropic.com/settings/keys"),
        ("anthropic", "sk-ant-admin01-" + KEY, "an Anthropic admin key"),
        ("openai", "sk-admin-" + KEY, "an OpenAI admin key"),
        ("google", "ya29.a0" + KEY, "a Google access token"),
        ("moonshot", "sk-kimi-" + KEY, "https://api.kimi.com/coding/v1"),
        ("alibaba", "sk-sp-" + KEY, "https://coding-intl.dashscope.aliyuncs.com/v1"),
        ("openai", "Bearer sk-cp-" + KEY, "https://api.minimax.io/v1"),
        ("openai", "r8_" + KEY, "Replicate, which is not among our providers"),
        ("mistral", "xai-" + KEY, "a key of xAI"),
        ("openai", "sk-or-v1-" + KEY, "a key of OpenRouter"),
    ],
)
def test_what_cannot_be_a_key_of_this_provider_is_refused_with_a_sentence(slug: str, text: str, said: str) -> None:
    assert said in refusal(slug, text)


def test_a_server_of_ones_own_may_take_any_key() -> None:
    for key in ("sk-kimi-" + KEY, "sk-ant-oat01-" + KEY, "xai-" + KEY):
        assert parse_key(key, PROVIDERS["openai-compatible"]) == key


def test_a_whole_command_or_account_of_several_lines_is_read() -> None:
    command = f"curl https://api.openai.com/v1/models \\\n  -H 'Accept: */*' \\\n  -H 'Authorization: Bearer {KEY}'\n"
    assert parse_key(command, PROVIDERS["openai"]) == KEY
    account = json.dumps({"type": "service_account", "private_key": "-----BEGIN\nabc\n"}, indent=2)
    assert json.loads(parse_key(account, PROVIDERS["google-vertex"]))["type"] == "service_account"
    assert "has spaces" in refusal("openai", f"{KEY}\n{KEY}1")


# ------------------------------------------------------------------ companies without a file here


def only(text: str) -> Detection:
    reading = parse_paste(text)
    assert reading.unrecognised == ()
    (detection,) = reading.detections
    return detection


@pytest.mark.parametrize(
    ("line", "url"),
    [
        ("sk-kimi-" + KEY, "https://api.kimi.com/coding/v1"),
        ("KIMI_API_KEY=sk-kimi-" + KEY, "https://api.kimi.com/coding/v1"),
        ("OPENAI_API_KEY=sk-sp-" + KEY, "https://coding-intl.dashscope.aliyuncs.com/v1"),
        ("sk-cp-" + KEY, "https://api.minimax.io/v1"),
        ("MINIMAX_API_KEY=" + KEY, "https://api.minimax.io/v1"),
        ("XIAOMI_API_KEY=" + KEY, "https://api.xiaomimimo.com/v1"),
        ("HUNYUAN_API_KEY=" + KEY, "https://api.hunyuan.cloud.tencent.com/v1"),
        ("OPENCODE_API_KEY=" + KEY, "https://opencode.ai/zen/v1"),
        ("VOLCENGINE_API_KEY=1a2b3c4d-1111-2222-3333-444455556666", "https://ark.cn-beijing.volces.com/api/v3"),
        ("rqsty-" + KEY, "https://router.requesty.ai/v1"),
        ("ACME_API_KEY=" + KEY, ""),
        ("Bearer ACME_API_KEY=" + KEY, ""),
    ],
)
def test_a_key_of_another_company_is_offered_as_a_server_of_ones_own_only(line: str, url: str) -> None:
    detection = only(line)
    assert [choice.slug for choice in detection.choices] == ["openai-compatible"]
    assert detection.suggested_url == url and "is not supported yet" in detection.note
    assert detection.needs_base_url(detection.choices[0]) and detection.suggested_label


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("CLAUDE_CODE_OAUTH_TOKEN=sk-ant-oat01-" + KEY, "holds a Claude subscription token"),
        ("sk-ant-admin01-" + KEY, "holds an Anthropic admin key"),
        ("OPENAI_ADMIN_KEY=sk-admin-" + KEY, "holds an OpenAI admin key"),
        ("AWS_BEARER_TOKEN_BEDROCK=ABSK" + KEY, "holds a key of Amazon Bedrock"),
        ("AWS_ACCESS_KEY_ID=AKIAIOSFODNN7AAAAAAA", "holds a key of Amazon Web Services"),
        ("Authorization: Basic dXNlcjpwYXNzd29yZA==", "holds a user name and password"),
        ("MINIMAX_API_KEY=", "is empty"),
    ],
)
def test_what_no_provider_accepts_is_named_before_it_is_sent(line: str, said: str) -> None:
    reading = parse_paste(line)
    assert reading.detections == () and reading.unrecognised[0].reason.startswith(said)


@pytest.mark.parametrize("name", ["API_KEY", "LLM_API_KEY", "MY_KEY", "SECRET_KEY", "X_API_KEY", "API_KEY_2"])
def test_a_variable_that_names_no_company_leaves_the_choice_to_the_user(name: str) -> None:
    detection = only(f"{name}={KEY}")
    assert not detection.is_certain and "openai" in {choice.slug for choice in detection.choices}


@pytest.mark.parametrize("name", ["OPENAI_APIKEY", "OPENAI_API_KEY_2", "openaiApiKey", "OPENAI_TOKEN"])
def test_a_providers_variable_is_known_in_other_spellings(name: str) -> None:
    detection = only(f"{name}={KEY}")
    assert (detection.is_certain, detection.choices[0].slug) == (True, "openai")


def test_several_variables_on_one_line_are_all_found() -> None:
    reading = parse_paste(f'{{"OPENAI_API_KEY": "{KEY}", "MISTRAL_API_KEY": "{KEY[3:]}"}}')
    assert [(one.choices[0].slug, one.key) for one in reading.detections] == [("openai", KEY), ("mistral", KEY[3:])]


def test_an_address_beside_the_key_goes_before_a_suggestion() -> None:
    detection = only(f"KIMI_API_KEY=sk-kimi-{KEY}\nKIMI_BASE_URL=https://proxy.example/v1")
    assert (detection.base_url, detection.suggested_url) == ("https://proxy.example/v1", "")


def test_no_prefix_of_another_company_is_one_of_a_provider() -> None:
    ours = {prefix for provider in PROVIDERS.values() for prefix in provider.key_prefixes}
    for foreign in foreign_keys.BY_PREFIX:
        assert not [prefix for prefix in ours if prefix.startswith(foreign) or foreign.startswith(prefix)]
    variables = {provider.key_variable for provider in PROVIDERS.values()}
    assert not [name for name in variables for stem in foreign_keys.BY_VARIABLE if name.startswith(f"{stem}_")]
