"""Where keys are looked for, and that they do not show themselves."""

import copy
import dataclasses
import getpass
import json
import logging
import os
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmkit.errors import ValidationError
from llmkit.providers.credentials import Credentials, Key, redact
from llmkit.records import Provider

CANARY = "sk-canary-0123456789abcdef"


def provider(api_key_env="OPENAI_API_KEY", name="openai"):
    """A provider and the variable of its key."""
    return Provider(
        name=name,
        display_name="OpenAI",
        wire="openai_chat",
        base_url="https://api.openai.com/v1",
        api_key_env=api_key_env,
    )


@pytest.fixture
def dotenv_file(tmp_path):
    """Where the credentials look for a .env file; not there yet."""
    return tmp_path / ".env"


@pytest.fixture
def credentials(tmp_path, dotenv_file):
    """Credentials with nothing set."""
    return Credentials(tmp_path / "config", dotenv_file)


def test_the_environment_comes_before_the_dotenv_file_and_that_before_a_typed_key(
    credentials, dotenv_file, monkeypatch
):
    """Each place is used when those before it hold nothing."""
    assert credentials.key(provider()) is None
    monkeypatch.setattr(getpass, "getpass", lambda prompt: " typed-key ")
    credentials.ask(provider())
    assert credentials.key(provider()).reveal() == "typed-key"
    dotenv_file.write_text("OPENAI_API_KEY=dotenv-key\n")
    assert credentials.key(provider()).reveal() == "dotenv-key"
    monkeypatch.setenv("OPENAI_API_KEY", "environment-key")
    assert credentials.key(provider()).reveal() == "environment-key"


def test_a_dotenv_file_never_enters_the_environment_and_is_taken_literally(credentials, dotenv_file):
    """Child processes do not get its keys, and a $ in a key is a $."""
    dotenv_file.write_text("OPENAI_API_KEY=ab${HOME}cd\n")
    assert credentials.key(provider()).reveal() == "ab${HOME}cd"
    assert "OPENAI_API_KEY" not in os.environ


def test_an_edited_dotenv_file_is_read_again(credentials, dotenv_file):
    """A key that is put into the file counts without a restart."""
    dotenv_file.write_text("OTHER=1\n")
    assert not credentials.has_key(provider())
    dotenv_file.write_text("OPENAI_API_KEY=added-later\n")
    os.utime(dotenv_file, ns=(1, 1))
    assert credentials.has_key(provider())


@pytest.mark.parametrize("spoil", [lambda file: file.mkdir(), lambda file: file.write_bytes(b"OPENAI_API_KEY=\xff\n")])
def test_a_dotenv_that_cannot_be_read_counts_as_empty(credentials, dotenv_file, spoil):
    """A virtual environment named .env, or a file that is not text, does not break the catalog."""
    spoil(dotenv_file)
    assert not credentials.has_key(provider())


def test_google_api_key_wins_over_gemini_api_key(credentials, dotenv_file, monkeypatch):
    """Both variables of Google are known, in the order of its own library."""
    google = provider("GOOGLE_API_KEY", "google")
    dotenv_file.write_text("GOOGLE_API_KEY=from-dotenv\n")
    monkeypatch.setenv("GEMINI_API_KEY", "second")
    assert credentials.key(google).reveal() == "second"
    monkeypatch.setenv("GOOGLE_API_KEY", "first")
    assert credentials.key(google).reveal() == "first"
    assert credentials.key(provider("OPENAI_API_KEY")) is None


@pytest.mark.parametrize("empty", ["", "   ", "\t\n"])
def test_an_empty_key_counts_as_not_set(credentials, monkeypatch, empty):
    """Blanks are no key."""
    monkeypatch.setenv("OPENAI_API_KEY", empty)
    assert credentials.key(provider()) is None
    assert not credentials.has_key(provider())


def test_a_provider_without_key_variable_needs_none(credentials):
    """A local server is available at once, and asking for its key is refused."""
    assert credentials.has_key(provider(None))
    assert credentials.key(provider(None)) is None
    with pytest.raises(ValidationError, match="needs no key"):
        credentials.ask(provider(None))


@pytest.mark.parametrize("bad", ["\n", "\r\nx-evil: 1", "\x01", "é", "\u200b", "日"])
def test_a_malformed_key_is_refused_without_showing_it(credentials, monkeypatch, caplog, bad):
    """A line break or a strange letter in a key gives a sentence that names the variable and not the key."""
    caplog.set_level(logging.DEBUG)
    monkeypatch.setenv("OPENAI_API_KEY", f"{CANARY}{bad}x")
    with pytest.raises(ValidationError, match="OPENAI_API_KEY") as caught:
        credentials.key(provider())
    assert credentials.has_key(provider())  # so that nobody is told that the variable is not set
    assert "canary" not in repr(caught.value) + caplog.text


def test_typing_nothing_is_refused(credentials, monkeypatch):
    """Return at the hidden prompt sets no key."""
    monkeypatch.setattr(getpass, "getpass", lambda prompt: " ")
    with pytest.raises(ValidationError, match="No key"):
        credentials.ask(provider())
    assert not credentials.has_key(provider())


def test_a_key_does_not_show_itself(credentials, monkeypatch):
    """Neither repr, str, formatting, JSON, pickling nor copying gives the key away."""
    monkeypatch.setenv("OPENAI_API_KEY", CANARY)
    key = credentials.key(provider())
    assert {repr(key), str(key), f"{key}", f"{key!s:>4}"} == {"Key(set)"}
    assert f"{key:>10}" == "  Key(set)"
    for spread in (pickle.dumps, copy.copy, copy.deepcopy, json.dumps, dataclasses.asdict):
        with pytest.raises(TypeError) as caught:
            spread(key)
        assert "canary" not in str(caught.value)
    assert "canary" not in repr(credentials) + repr(vars(credentials))
    assert key != Key(CANARY)


def test_a_quoted_key_is_taken_out_of_a_text():
    """Plain, JSON-escaped and percent-encoded, in text and in bytes."""
    key = Key('sk-"quoted"/key')
    assert redact('bad key sk-"quoted"/key!', [key]) == "bad key [key]!"
    assert redact(json.dumps({"error": 'sk-"quoted"/key'}), [key]) == '{"error": "[key]"}'
    assert redact(b"?key=sk-%22quoted%22%2Fkey&x=1", [key]) == b"?key=[key]&x=1"


def test_a_word_that_serves_as_key_stays_in_answers():
    """Local servers take any word for a key; answers that hold it are left as they are."""
    assert redact("EMPTY is a word", [Key("EMPTY")]) == "EMPTY is a word"


@given(st.text(), st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=8), st.text())
def test_no_known_key_survives_redaction(before, secret, after):
    """Whatever stands around it, the key is gone afterwards (unless our own mark spells it)."""
    cleaned = redact(f"{before} {secret} {after}", [Key(secret)])
    assert secret not in cleaned.replace("[key]", "")


WAYS = (
    str,
    lambda each: f"\\u{ord(each):04x}",
    lambda each: f"\\\\u{ord(each):04X}",
    lambda each: json.dumps(each)[1:-1],
    lambda each: f"%{ord(each):02x}",
    lambda each: f"%25{ord(each):02X}",
    lambda each: f"\\u0025{ord(each):02x}",
    lambda each: f"\\\\u002525{ord(each):02X}",
)


@given(st.lists(st.tuples(st.sampled_from('abcXYZ019-_./+="'), st.sampled_from(WAYS)), min_size=8), st.text())
def test_no_way_of_writing_a_key_survives_redaction(characters, around):
    """Each character plain, escaped or encoded, as often and as mixed as can be: what is decoded later is no key."""
    secret = "".join(each for each, _ in characters)
    written = f"{around} {''.join(way(each) for each, way in characters)} {around}"
    assert redact(written, [Key(secret)]).count("[key]") > around.count("[key]") * 2
    assert redact(written.encode(), [Key(secret)]) == redact(written, [Key(secret)]).encode()
