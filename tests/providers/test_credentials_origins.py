"""No trick with a URL gets a key to a host that nobody approved."""

import json
import multiprocessing
import stat
from urllib.parse import urlsplit

import httpx
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from yarl import URL

from llmkit.errors import OriginNotApproved, ValidationError
from llmkit.providers.credentials import Credentials
from llmkit.records import Provider
from llmkit.records.checks.addresses import is_loopback, origin_of

KEY = "OPENAI_API_KEY"


def shipped(name):
    """The origin of the one provider that is shipped."""
    return {"https://api.openai.com"} if name == "openai" else set()


def provider(base_url, name="openai", api_key_env=KEY):
    """A provider whose key would go to ``base_url``."""
    return Provider(name=name, display_name=name, wire="openai_chat", base_url=base_url, api_key_env=api_key_env)


@pytest.fixture
def credentials(tmp_path):
    """One shipped origin, no approvals yet."""
    return Credentials(tmp_path / "config", tmp_path / ".env", shipped=shipped)


@pytest.mark.parametrize(
    ("url", "origin"),
    [
        ("https://api.openai.com/v1", "https://api.openai.com"),
        ("HTTPS://API.OpenAI.com:443/v1/", "https://api.openai.com"),
        ("https://api.openai.com./v1", "https://api.openai.com"),
        ("https://api.openai.com:8443", "https://api.openai.com:8443"),
        ("http://localhost:80", "http://localhost"),
        ("http://[0:0::1]:8000/v1", "http://[::1]:8000"),
        ("https://bücher.example", "https://xn--bcher-kva.example"),
        ("https://аpi.openai.com", "https://xn--pi-6kc.openai.com"),  # a Cyrillic а
        ("https://api。openai．com", "https://api.openai.com"),
    ],
)
def test_an_origin_has_one_spelling(url, origin):
    """Case, default port, trailing dot, address forms and international names make no difference."""
    assert origin_of(url) == origin


@pytest.mark.parametrize(
    "url",
    [
        "",
        "api.openai.com",
        "ftp://api.openai.com",
        "//api.openai.com",
        "https://",
        "https:///v1",
        "https://user@api.openai.com",
        "https://api.openai.com@evil.example",
        "https://api.openai.com:443@evil.example",
        "https://evil.example\\@api.openai.com",
        "https://api.openai.com/\\@evil.example",
        "https://evil.example\\.api.openai.com",
        "https://api.openai.com#@evil.example",
        "https://api.openai.com?@evil.example",
        "https://api.openai.com\t.evil.example",
        "https://api.openai.com\n.evil.example",
        " https://api.openai.com",
        "https://api.openai.com .evil.example",
        "https://%61pi.openai.com",
        "https://api.openai.com%2f.evil.example",
        "https://api..openai.com",
        "https://-api.openai.com",
        "https://api.openai.com:0",
        "https://api.openai.com:99999",
        "https://api.openai.com:x",
        "https://[::1%25eth0]/",
        "https://[::1/",
        "https://api.openai.com\u2100.evil.example",
    ],
)
def test_an_odd_url_has_no_origin(credentials, url):
    """What parsers may read in two ways is refused by all three doors."""
    with pytest.raises(ValidationError):
        origin_of(url)
    assert not credentials.origin_allowed("openai", url, KEY)
    with pytest.raises(ValidationError):
        credentials.approve_origin("openai", url, KEY)
    with pytest.raises(OriginNotApproved):
        credentials.check(provider(url))


SPICES = [
    "@",
    "\\",
    "/",
    ":",
    ".",
    "。",
    "．",
    "..",
    "-",
    "#",
    "?",
    "[",
    "]",
    "%40",
    "%2e",
    ":443",
    ":80",
    "api.openai.com",
    "evil.example",
    "localhost",
    "127.0.0.1",
    "::1",
    "user:pw",
    "0x7f.1",
    "ａ",
    "ß",
    "A",
    "\u200b",
    "\xad",
]


@given(
    st.sampled_from(["https://", "http://", "HTTPS:/", "https:\\\\", "//"]),
    st.lists(st.sampled_from([*SPICES, "\t"]), min_size=1, max_size=6),
)
@example("https://", ["api.openai.com", "@", "evil.example"])
@example("https://", ["evil.example", "\\", "@", "api.openai.com"])
@example("https://", ["[", "::1", "]", ".", "evil.example"])
def test_what_is_allowed_is_where_a_request_goes(tmp_path_factory, scheme, parts):
    """Whatever is written, an allowed URL leads to the shipped host or this machine, as httpx and aiohttp read it."""
    credentials = Credentials(tmp_path_factory.getbasetemp() / "none", shipped=shipped)
    try:
        origin = origin_of(url := scheme + "".join(parts))
    except ValidationError:
        return
    if not (credentials.origin_allowed("openai", url, KEY) or is_loopback(origin)):
        return
    for host in (httpx.URL(f"{origin}/v1/@evil.example").host, URL(f"{origin}/v1/@evil.example").host):
        assert host == "api.openai.com" or is_loopback(f"http://[{host}]" if ":" in host else f"http://{host}")
    assert urlsplit(origin).username is None


@given(st.text())
def test_origin_of_is_total_and_stable(url):
    """Any text gives an origin or a ValidationError, and an origin is its own origin."""
    try:
        origin = origin_of("https://" + url)
    except ValidationError:
        return
    assert origin_of(origin) == origin


def test_a_key_goes_to_the_shipped_origin_of_its_own_provider_only(credentials):
    """Another provider's host, another port, a subdomain or plain http are not covered."""
    assert credentials.origin_allowed("openai", "https://api.openai.com/v1", KEY)
    credentials.check(provider("https://api.openai.com/other/path"))
    for name, url in [
        ("custom", "https://api.openai.com/v1"),
        ("openai", "https://api.openai.com:8443"),
        ("openai", "https://eu.api.openai.com"),
        ("openai", "http://api.openai.com"),
    ]:
        assert not credentials.origin_allowed(name, url, KEY)


def test_this_machine_is_told_from_look_alikes():
    """Local servers need no approval, also over http; others do, whatever their names begin with."""
    for url in (
        "http://localhost:11434/v1",
        "http://127.0.0.1",
        "http://127.9.9.9:1",
        "http://[::1]:8000",
        "https://localhost",
        "http://app.localhost:8000/v1",
    ):
        assert is_loopback(origin_of(url)), url
    for url in (
        "http://localhost.evil.example",
        "http://127.0.0.1.evil.example",
        "http://128.0.0.1",
        "http://[::2]",
        "http://0.0.0.0",
    ):
        assert not is_loopback(origin_of(url)), url


def test_an_approval_is_kept_for_this_user_and_no_one_else(credentials, tmp_path):
    """It outlives the session, counts for one provider, origin and variable, and its file is private."""
    credentials.approve_origin("openrouter", "https://OpenRouter.ai/api/v1", KEY)
    again = Credentials(tmp_path / "config", shipped=shipped)
    assert again.origin_allowed("openrouter", "https://openrouter.ai/another/path", KEY)
    assert not again.origin_allowed("openrouter", "https://openrouter.ai/another/path", "OPENROUTER_API_KEY")
    assert not again.origin_allowed("other", "https://openrouter.ai", KEY)
    assert not again.origin_allowed("openrouter", "https://openrouter.ai:444", KEY)
    assert not Credentials(tmp_path / "elsewhere").origin_allowed("openrouter", "https://openrouter.ai", KEY)
    (file,) = (tmp_path / "config").glob("*.json")
    assert json.loads(file.read_text()) == {"openrouter": [f"https://openrouter.ai {KEY}"]}
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700


def test_the_configuration_folder_follows_its_variable(monkeypatch, tmp_path):
    """LLMKIT_CONFIG_DIR says where approvals are kept."""
    monkeypatch.setenv("LLMKIT_CONFIG_DIR", str(tmp_path / "mine"))
    Credentials().approve_origin("x", "https://x.example", KEY)
    assert list((tmp_path / "mine").glob("*.json"))


def test_plain_http_over_a_public_network_cannot_be_approved(credentials):
    """A key never travels unencrypted where anybody may listen."""
    with pytest.raises(ValidationError, match="not https"):
        credentials.approve_origin("lab", "http://lab.example:8000", KEY)
    with pytest.raises(OriginNotApproved, match="not https"):
        credentials.check(provider("http://lab.example:8000", "lab"))


def test_plain_http_on_a_private_network_needs_approval_for_a_key(credentials):
    """The refusal says what travels unencrypted and how to approve it; approved, the key may go there."""
    for url in ("http://192.168.1.5:8000/v1", "http://gpu07:8000/v1"):
        with pytest.raises(OriginNotApproved, match=r"the prompts and the answers.*unencrypted.*approve_origin=True"):
            credentials.check(provider(url, "lab"))
        credentials.approve_origin("lab", url, KEY)
        credentials.check(provider(url, "lab"))


def test_a_refusal_says_where_the_key_would_go_and_what_to_do(credentials):
    """The sentence holds the real host and the call that approves it."""
    with pytest.raises(OriginNotApproved, match=r"https://xn--pi-6kc\.openai\.com.*approve_origin=True"):
        credentials.check(provider("https://аpi.openai.com/v1"))


def test_a_provider_without_key_is_not_checked(credentials):
    """Where no key is sent there is nothing to protect."""
    credentials.check(provider("https://unknown.example", api_key_env=None))


@pytest.mark.parametrize("content", ["{", "[]", '{"x": 1}', "\xff"])
def test_a_damaged_file_approves_nothing_and_is_not_overwritten(credentials, tmp_path, content):
    """It is reported by its path; shipped origins go on working."""
    (tmp_path / "config").mkdir()
    file = tmp_path / "config" / "approved_origins.json"
    file.write_text(content, encoding="latin-1")
    with pytest.raises(ValidationError, match="approved_origins"):
        credentials.origin_allowed("x", "https://x.example", KEY)
    with pytest.raises(ValidationError, match="damaged"):
        credentials.approve_origin("x", "https://x.example", KEY)
    assert file.read_text(encoding="latin-1") == content
    assert credentials.origin_allowed("openai", "https://api.openai.com", KEY)


def test_an_approval_that_was_written_by_hand_does_not_open_public_http(credentials, tmp_path):
    """The rule holds whatever the file says."""
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "approved_origins.json").write_text(f'{{"lab": ["http://lab.example:8000 {KEY}"]}}')
    assert not credentials.origin_allowed("lab", "http://lab.example:8000", KEY)


def _approve_many(config_dir, name, together):
    credentials = Credentials(config_dir)
    together.wait(60)
    for number in range(30):
        credentials.approve_origin(name, f"https://h{number}.example", KEY)


def test_kernels_that_approve_at_once_lose_nothing(tmp_path):
    """Two processes write thirty approvals each; all sixty are there."""
    context = multiprocessing.get_context("spawn")
    together = context.Barrier(2)
    workers = [context.Process(target=_approve_many, args=(tmp_path / "config", name, together)) for name in ("a", "b")]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
    approved = json.loads((tmp_path / "config" / "approved_origins.json").read_text())
    assert {name: len(origins) for name, origins in approved.items()} == {"a": 30, "b": 30}
