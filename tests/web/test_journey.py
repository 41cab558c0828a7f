"""The main job from sign-up to result page, without JavaScript, with a real worker."""

from __future__ import annotations

from flask import Flask

from app.demo.simulator import Simulator
from app.vault import Keyring
from tests.conftest import PASSWORD, both_databases
from tests.sync.test_run import named
from tests.web.text_browser import Plainly
from tests.web.worker import work_off

KEY = "sk-a-key-of-the-journey-4a7e"


@both_databases
def test_the_whole_journey_works_without_javascript(app: Flask, vault: Keyring, simulator: Simulator) -> None:
    simulator.set_models("openai", named("gpt-4o", "text-embedding-3-small"))
    person = Plainly(app.test_client()).open("/")
    person.follow("/signup").submit("/signup", email="new@example.com", password=PASSWORD)
    assert "Add an API key below, then sync." in person.words

    person.submit("/keys", {"provider": "openai"}, key=KEY)
    work_off(app, vault)
    assert "Found 1 chat model." in person.open("/profile").words

    person.submit("/sync")
    assert "Reload to see progress" in person.words
    work_off(app, vault)
    assert "No changes" in person.open("/profile").words
    assert "New models available" not in person.words

    simulator.set_models("openai", named("gpt-4o", "gpt-5", "gpt-99-nobody-knows", "text-embedding-3-small"))
    person.submit("/sync")
    work_off(app, vault)
    person.open("/profile")
    assert "2 new models." in person.words
    assert "New models available 2" in person.words

    person.follow("/changes")
    assert "gpt-5" in person.words and "gpt-99-nobody-knows" in person.words
    assert "unseen" in person.words
    assert "New models available" not in person.words
    assert "unseen" in person.open("/changes").words  # while one looks, what was new keeps its mark
    assert "unseen" not in person.submit("/changes/read").words
    assert "gpt-5" in person.words

    person.follow("/history").follow("/history/3")
    assert "manually. 2 new models." in person.words
    assert "new for this key" in person.words
    person.follow(person.answer.request.path + "/results/")
    assert "3 chat models" in person.words and "1 filtered out" in person.words
    assert "text-embedding-3-small" in person.words and "embedding" in person.words

    person.open("/models?all=yes")
    assert "gpt-99-nobody-knows" in person.words and "unknown" in person.words
    assert not any(KEY in page for page in person.seen)

    person.submit("/logout")
    assert "Sign in" in person.words
    assert person.client.get("/profile").status_code == 303
