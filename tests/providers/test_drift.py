"""What a saved answer tells, and what it must not."""

from __future__ import annotations

from app.providers.drift import REMOVED, diff_fields, field_paths, scrub


def test_fields_are_paths_whatever_the_length_of_an_array() -> None:
    assert field_paths({"data": [{"id": "a"}, {"id": "b", "pricing": {"prompt": 1}}]}) == {
        "data",
        "data[].id",
        "data[].pricing",
        "data[].pricing.prompt",
    }


def test_drift_names_what_appeared_and_what_vanished() -> None:
    assert diff_fields({"data": [{"id": 1, "created": 2}]}, {"data": [{"id": 1, "shutdown_date": None}]}) == (
        ["data[].shutdown_date"],
        ["data[].created"],
    )


def test_a_key_is_no_field_name_and_a_home_folder_no_path_of_a_saved_answer() -> None:
    key = "sk-good-key-of-a-test-1234"
    assert scrub({f"of {key}": 1, "root": "/home/alice/models/x", "path": "C:\\Users\\Alice\\x"}, key) == {
        f"of {REMOVED}": 1,
        "root": f"/home/{REMOVED}/models/x",
        "path": f"C:\\Users\\{REMOVED}\\x",
    }


def test_keys_and_personal_identifiers_do_not_get_into_a_saved_answer() -> None:
    key = "sk-good-key-of-a-test-1234"
    saved = scrub(
        {
            "user_id": "u-1",
            "organization": "acme",
            "data": [
                {"id": "gpt-5", "owned_by": "no-reply@example.com", "note": f"for {key}", "created": 1},
                {"id": "ft:gpt-4o:acme::abc"},
            ],
            "other": "sk-proj-AbCdEfGhIjKlMnOpQr",
        },
        key,
    )
    assert saved == {
        "user_id": REMOVED,
        "organization": REMOVED,
        "data": [{"id": "gpt-5", "owned_by": REMOVED, "note": f"for {REMOVED}", "created": 1}],
        "other": REMOVED,
    }
