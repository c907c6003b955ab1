"""What a worker printed is shown without secrets, and is still to be read."""

import pytest

from ebbflow.adapters.providers.given_environment import without_secrets

LOG = "parallelism is false, 4096 tokens, cache in /data/keys, key sk-4f9a0c17d2, pass correct horse 7"


@pytest.mark.parametrize(
    ("name", "value", "is_shown"),
    [
        ("TOKENIZERS_PARALLELISM", "false", True),
        ("MAX_TOKENS", "4096", True),
        ("KEY_FOLDER", "/data/keys", True),
        ("AUTH", "", True),
        ("AUTH", " ", True),
        ("API_KEY", "sk-4f9a0c17d2", False),
        ("API_KEY", "sk-4f9a0c17d2\n", False),
        ("DB_PASS", "correct horse 7", False),
        ("COLOUR", "sk-4f9a0c17d2", True),
    ],
)
def test_regression_values_that_are_words_digits_or_booleans_destroyed_logs(
    name: str, value: str, is_shown: bool
) -> None:
    shown = without_secrets(LOG, {name: value})
    assert (shown == LOG) is is_shown
    if not is_shown:
        assert value.strip() not in shown
        assert shown.count("***") == 1


@pytest.mark.parametrize("value", ["a" * 16, "1" * 16, "Zm9v", "hush-4711", "p4ss"])
def test_what_can_be_a_secret_is_taken_out(value: str) -> None:
    assert without_secrets(f"<{value}>", {"A_TOKEN": value}) == "<***>"
