"""Adding and changing providers: limits, addresses, keys, balances."""

import itertools
import json
from datetime import UTC, datetime
from decimal import Decimal

import pytest

from llmkit.errors import EditConflict, OriginNotApproved, UnsupportedProvider, ValidationError
from llmkit.kit import open_kit
from llmkit.providers.wires import wire_for
from llmkit.records import Call, HttpResponse, Model
from llmkit.records.dialects import DIALECTS


def test_a_custom_provider_starts_with_the_careful_limits(catalog):
    """A provider that says nothing gets one request at a time, sixty a minute; its URL loses the trailing slash."""
    added = catalog.add_provider("my-vllm", base_url="http://127.0.0.1:8000/v1/")
    assert added == catalog.provider("my-vllm")
    assert (added.max_parallel_requests, added.requests_per_minute, added.tokens_per_minute) == (1, 60, None)
    assert (added.base_url, added.wire, added.display_name) == ("http://127.0.0.1:8000/v1", "openai_chat", "my-vllm")
    assert added.is_enabled
    assert added.api_key_env is None


def test_provider_names_are_plain(catalog, n_events, subtests):
    """A name that would break references or folders is refused, and nothing is written."""
    before = n_events()
    for name in ("", "OpenAI", "my provider", "a:b", "-x", "ä", "a/b", None, 3, "x" * 65):
        with subtests.test(name=name):
            with pytest.raises(ValidationError) as caught:
                catalog.add_provider(name, base_url="http://localhost:1/v1")
            assert caught.value.field == "name"
    assert n_events() == before


BAD_ADDRESSES = (
    "", "localhost:11434/v1", "ftp://localhost/v1", "http://example.org/v1", "https://", "https:///v1",
    "https://user:secret@example.org/v1", "https://example.org/v1?key=secret", "https://example.org/v1#x",
    "https://exa mple.org", "https://example.org:99999/v1", "https://example.org/v1/chat/completions",
    "javascript:alert(1)", None, 5, "http://localhost.evil.example/v1", "http://10.0.0.1/v1", "https://[::1",
)  # fmt: skip


def test_addresses_are_https_or_local(catalog, n_events, subtests):
    """Only https, or http on this machine; no credentials, query or endpoint in it; the message repeats no secret."""
    before = n_events()
    for url in BAD_ADDRESSES:
        with subtests.test(url=url):
            with pytest.raises(ValidationError) as caught:
                catalog.add_provider("beta", base_url=url, api_key_env="BETA_KEY")
            assert caught.value.field == "base_url"
            assert "secret" not in str(caught.value)
    assert n_events() == before


def test_this_machine_is_always_allowed(bench, subtests):
    """A loopback address needs no approval, and is one for this provider alone."""
    for host in ("localhost", "127.0.0.1", "127.1.2.3", "[::1]", "LOCALHOST"):
        with subtests.test(host=host):
            bench.catalog.update_provider("alpha", base_url=f"http://{host}:8000/v1")
            assert bench.catalog.provider("alpha").base_url == f"http://{host.lower()}:8000/v1"
            assert bench.credentials.origin_allowed("alpha", f"http://{host}:8000", "ALPHA_KEY")
            assert not bench.credentials.origin_allowed("beta", f"http://{host}:8000", "ALPHA_KEY")


PRIVATE = (
    "http://192.168.1.5:8000/v1", "http://10.0.0.1/v1", "http://172.31.0.9:11434/v1", "http://gpu07:8000/v1",
    "http://gpu07.local/v1", "http://[fd00::1]:8000/v1", "http://100.64.0.7:8000/v1",
)  # fmt: skip


def test_a_server_without_a_key_may_be_plain_http_on_a_private_network(catalog, subtests):
    """A lab's vLLM or Ollama has no key to protect: it is added, and moved, without a word."""
    catalog.add_provider("lab", base_url="http://localhost:8000/v1")
    for url in PRIVATE:
        with subtests.test(url=url):
            assert catalog.update_provider("lab", base_url=url).base_url == url
    assert catalog.add_provider("other", base_url=PRIVATE[0]).base_url == PRIVATE[0]


def test_a_key_over_http_on_a_private_network_needs_approval(bench, n_events, subtests):
    """The refusal says what travels unencrypted, and the explicit approval is the same as for a foreign origin."""
    before = n_events()
    for url in PRIVATE:
        with subtests.test(url=url):
            with pytest.raises(OriginNotApproved, match=r"prompts and the answers.*unencrypted.*approve_origin=True"):
                bench.catalog.add_provider("lab", base_url=url, api_key_env="LAB_KEY")
            with pytest.raises(OriginNotApproved, match="unencrypted"):
                bench.catalog.update_provider("alpha", base_url=url)
    assert n_events() == before
    bench.catalog.add_provider("lab", base_url=PRIVATE[0], api_key_env="LAB_KEY", approve_origin=True)
    assert bench.credentials.origin_allowed("lab", "http://192.168.1.5:8000", "LAB_KEY")


def test_plain_http_never_crosses_a_public_network(catalog, subtests):
    """Without a key too: prompts and answers could be read and changed on the way; the sentence names a tunnel."""
    for url in ("http://example.org/v1", "http://8.8.8.8/v1", "http://0x7f000001/v1", "http://2130706433/v1"):
        with subtests.test(url=url), pytest.raises(ValidationError, match=r"https.*tunnel"):
            catalog.add_provider("beta", base_url=url)


def test_what_the_catalog_takes_as_this_machine_gets_its_key(bench):
    """Adding a provider and sending to it agree on what this machine is."""
    for number, host in enumerate(("app.localhost", "localhost", "127.0.0.2", "[::1]")):
        added = bench.catalog.add_provider(f"p{number}", base_url=f"http://{host}:8000/v1", api_key_env="ANY_KEY")
        bench.credentials.check(added)


def test_a_new_address_for_a_key_needs_approval(bench, n_events):
    """A changed origin is refused with the call that approves it; approved, it is remembered for that provider."""
    before = n_events()
    with pytest.raises(OriginNotApproved, match="approve_origin=True") as caught:
        bench.catalog.update_provider("alpha", base_url="https://evil.example/v1")
    assert "https://evil.example" in str(caught.value)
    assert n_events() == before
    bench.catalog.update_provider("alpha", base_url="https://good.example/v1", approve_origin=True)
    assert bench.credentials.origin_allowed("alpha", "https://good.example", "ALPHA_KEY")
    bench.catalog.update_provider("alpha", base_url="https://good.example/v2")
    with pytest.raises(OriginNotApproved):
        bench.catalog.update_provider("alpha", base_url="https://good.example:8443/v2")


def test_an_address_that_was_approved_without_a_key_is_asked_about_when_it_gets_one(bench):
    """An approval is for one variable: that a server may be asked does not say that it may have a key."""
    bench.catalog.add_provider("open", base_url="https://open.example/v1", approve_origin=True)
    with pytest.raises(OriginNotApproved, match=r"OPEN_KEY is not sent.*approve_origin=True"):
        bench.catalog.update_provider("open", api_key_env="OPEN_KEY")


def test_a_new_remote_provider_is_added_but_gets_no_key_before_approval(bench):
    """Adding warns and says how to approve; approving later or at once both work."""
    with pytest.warns(UserWarning, match=r"update_provider\('router'.*approve_origin=True"):
        bench.catalog.add_provider("router", base_url="https://router.example/api/v1", api_key_env="ROUTER_KEY")
    assert not bench.credentials.origin_allowed("router", "https://router.example", "ROUTER_KEY")
    bench.catalog.update_provider("router", approve_origin=True)
    assert bench.credentials.origin_allowed("router", "https://router.example", "ROUTER_KEY")
    bench.catalog.add_provider(
        "second", base_url="https://second.example/v1", api_key_env="SECOND_KEY", approve_origin=True
    )
    assert bench.credentials.origin_allowed("second", "https://second.example", "SECOND_KEY")


def test_a_key_given_to_an_unapproved_address_needs_approval(catalog):
    """A provider without a key can be anywhere; naming a key for it asks for approval."""
    catalog.add_provider("open", base_url="https://open.example/v1")
    with pytest.raises(OriginNotApproved):
        catalog.update_provider("open", api_key_env="OPENAI_API_KEY")


def test_a_key_in_place_of_its_variables_name_is_refused_and_not_repeated(catalog, subtests):
    """The catalog keeps the name of a variable; something that looks like a key never comes back in the message."""
    for key in ("sk-proj-abc123", "AIzaSyD-xyz", "has space", "lower_case_key", "Q5fK2mXyZ0", 5):
        with subtests.test(key=key):
            with pytest.raises(ValidationError, match="NAME of the environment variable") as caught:
                catalog.add_provider("beta", base_url="http://localhost:1/v1", api_key_env=key)
            assert caught.value.field == "api_key_env"
            assert str(key) not in str(caught.value)


LIMITS = ("max_parallel_requests", "requests_per_minute", "tokens_per_minute")


def test_a_limit_of_zero_becomes_one_with_a_warning(catalog, subtests):
    """0 would stop the provider for good, so 1 is taken and the user is told."""
    for field in LIMITS:
        with subtests.test(field=field):
            with pytest.warns(UserWarning, match=f"{field}=0"):
                changed = catalog.update_provider("alpha", **{field: 0})
            assert getattr(changed, field) == 1
            assert getattr(catalog.provider("alpha"), field) == 1


def test_limits_that_make_no_sense_are_refused(catalog, n_events, subtests):
    """Negative, fractional, text, and beyond what anybody could mean; the error names the field."""
    before = n_events()
    for field, value in itertools.product(LIMITS, (-1, 2.5, "5", True, float("nan"), 10**12)):
        with subtests.test(field=field, value=value):
            with pytest.raises(ValidationError) as caught:
                catalog.update_provider("alpha", **{field: value})
            assert caught.value.field == field
    assert n_events() == before


def test_unknown_arguments_are_refused(catalog):
    """Balances have their own methods, and a typo lists what there is."""
    with pytest.raises(ValidationError, match="set_balance"):
        catalog.update_provider("alpha", balance=5)
    with pytest.raises(ValidationError, match="requests_per_minute") as caught:
        catalog.update_provider("alpha", request_per_minute=5)
    assert caught.value.field == "request_per_minute"


def test_adding_twice_is_refused(catalog):
    """A second provider of one name would hide the first."""
    with pytest.raises(ValidationError, match="already") as caught:
        catalog.add_provider("alpha", base_url="http://localhost:1/v1")
    assert caught.value.field == "name"


def test_a_stale_form_does_not_overwrite(catalog):
    """An edit based on what somebody else has changed meanwhile is refused and changes nothing."""
    read = catalog.provider("alpha")
    catalog.update_provider("alpha", max_parallel_requests=3, expected_updated_at=read.updated_at)
    with pytest.raises(EditConflict):
        catalog.update_provider("alpha", max_parallel_requests=9, expected_updated_at=read.updated_at)
    assert catalog.provider("alpha").max_parallel_requests == 3


def test_what_changes_nothing_leaves_no_trace(catalog, n_events):
    """Saving a form without a change writes no event."""
    before = n_events()
    catalog.update_provider("alpha", max_parallel_requests=1, is_enabled=True)
    catalog.update_model("alpha:one", display_name="one", cost_input_per_million=1.5)
    catalog.set_default_model("alpha:one")
    catalog.reactivate_model("alpha:one")
    catalog.set_balance("alpha", None)
    assert n_events() == before


def test_balance_is_set_synced_and_switched_off(bench):
    """A sync returns how far ours was off, sets the real balance and keeps a line about it."""
    catalog = bench.catalog
    assert catalog.provider("alpha").balance is None
    assert catalog.sync_balance("alpha", 20) is None
    assert catalog.set_balance("alpha", "12.50").balance == Decimal("12.5")
    assert catalog.sync_balance("alpha", "11.2") == Decimal("-1.3")
    assert catalog.provider("alpha").balance == Decimal("11.2")
    synced = bench.store.query(
        "SELECT system_balance, entered_balance, delta FROM provider_balance_syncs ORDER BY event_id"
    )
    assert synced.iloc[-1].tolist() == pytest.approx([12.5, 11.2, -1.3])
    catalog.set_balance("alpha", None)
    assert catalog.provider("alpha").balance is None


def test_amounts_that_make_no_sense_are_refused(catalog, subtests):
    """A balance is a finite number of dollars with at most ten decimals."""
    for amount in ("ten", float("inf"), "NaN", True, 10**9, "0.00000000001"):
        with subtests.test(amount=amount):
            with pytest.raises(ValidationError) as caught:
                catalog.set_balance("alpha", amount)
            assert caught.value.field == "amount"


def _reported(provider):
    """The cost that an answer of this provider reports, as it is read."""
    body = {"choices": [{"message": {"content": "Yes."}}], "usage": {"prompt_tokens": 9, "completion_tokens": 5}}
    body["usage"]["cost"] = 0.00014
    response = HttpResponse(status=200, headers={}, body=json.dumps(body).encode(), received_at=datetime.now(UTC))
    model = Model(provider=provider.name, model_id="m", display_name="m")
    return wire_for(provider, model).parse(Call(model=model, messages=()), response).usage.reported_cost


def test_a_router_under_any_name_gets_its_reported_cost(catalog):
    """OpenRouter's cost is read whatever the provider is called, and no other's is taken for dollars."""
    assert _reported(catalog.add_provider("my-router", base_url="https://openrouter.ai/api/v1")) == Decimal("0.00014")
    proxied = catalog.add_provider("proxied", base_url="http://localhost:4000/v1", dialect="openrouter")
    assert _reported(proxied) == Decimal("0.00014")
    assert _reported(catalog.add_provider("openrouter", base_url="http://localhost:4001/v1")) is None


def test_the_dialect_is_guessed_from_the_address(catalog, subtests):
    """The providers' own domains and those below them are known; any other speaks the standard of its wire."""
    for number, (url, dialect) in enumerate(
        (
            ("https://openrouter.ai/api/v1", "openrouter"),
            ("https://api.x.ai/v1", "xai"),
            ("https://eu-west-1.api.x.ai/v1", "xai"),
            ("https://api.deepseek.com", "deepseek"),
            ("https://api.mistral.ai/v1", "mistral"),
            ("https://API.OpenAI.com:443/v1", "openai"),
            ("https://notx.ai/v1", None),
            ("https://openrouter.ai.example/v1", None),
            ("http://localhost:8000/x.ai", None),
        )
    ):
        with subtests.test(url=url):
            assert catalog.add_provider(f"p{number}", base_url=url).dialect == dialect
            assert catalog.provider(f"p{number}").dialect == dialect
    assert catalog.providers().set_index("name")["dialect"]["p1"] == "xai"


def test_a_dialect_is_changed_and_stays(catalog):
    """A given dialect wins over the address; a new address brings its own only where none is given."""
    catalog.add_provider("router", base_url="http://localhost:8000/v1", dialect="xai")
    assert catalog.update_provider("router", base_url="http://localhost:9000/v1").dialect == "xai"
    assert catalog.update_provider("router", base_url="https://openrouter.ai/api/v1").dialect == "openrouter"
    assert catalog.update_provider("router", dialect="mistral").dialect == "mistral"
    assert catalog.update_provider("router", base_url="https://openrouter.ai/api/v2").dialect == "mistral"
    assert catalog.update_provider("router", dialect=None).dialect is None
    catalog.undo()
    assert catalog.provider("router").dialect == "mistral"


def test_an_unknown_dialect_is_refused_with_the_known_ones(catalog, n_events):
    """The error names the dialects that there are, and nothing is written."""
    before = n_events()
    for dialect in ("klingon", "", 3, ["xai"]):
        with pytest.raises(ValidationError, match=", ".join(DIALECTS)) as caught:
            catalog.add_provider("router", base_url="http://localhost:8000/v1", dialect=dialect)
        assert caught.value.field == "dialect"
    assert n_events() == before


def test_a_provider_that_no_run_has_asked_can_be_deleted(tmp_path):
    """With its models, prices and balance; after a rebuild from the journal too, and undo brings all of it back."""
    path = tmp_path / "k.duckdb"
    with open_kit(path, simulate=True) as kit:
        catalog, before = kit.catalog, kit.catalog.state()
        catalog.add_provider("lab", base_url="http://localhost:1/v1")
        catalog.add_model("lab:one", cost_input_per_million=1, cost_output_per_million=2, source="a list")
        catalog.update_model("lab:one", cost_input_per_million=3)
        catalog.set_balance("lab", 5)
        full = catalog.state()
        assert catalog.delete_provider("lab").name == "lab"
        assert catalog.state() == before
        with pytest.raises(UnsupportedProvider):
            catalog.provider("lab")
        assert catalog.last_change().endswith("lab:one: deleted; lab: deleted")
    path.unlink()
    with open_kit(path, simulate=True) as kit:
        assert kit.catalog.state() == before
        kit.catalog.undo()
        again = kit.catalog.state()
        assert again.prices["lab:one"] == full.prices["lab:one"]
        assert again.models["lab:one"].price == full.models["lab:one"].price
        assert again.providers["lab"].balance == 5


def test_a_new_provider_of_a_deleted_name_begins_anew(tmp_path):
    """Nothing is left of the old one: not its models, prices or balance, in a rebuilt database either."""
    path = tmp_path / "k.duckdb"
    with open_kit(path, simulate=True) as kit:
        catalog = kit.catalog
        catalog.add_provider("lab", base_url="http://localhost:1/v1")
        catalog.add_model("lab:one", cost_input_per_million=1, cost_output_per_million=2)
        catalog.set_balance("lab", 5)
        catalog.delete_provider("lab")
        catalog.add_provider("other", base_url="http://localhost:2/v1")
        catalog.add_provider("lab", base_url="http://localhost:3/v1")
        catalog.add_model("lab:one", cost_input_per_million=None, cost_output_per_million=None)
        state = catalog.state()
    path.unlink()
    with open_kit(path, simulate=True) as kit:
        assert kit.catalog.state() == state
        assert kit.catalog.models(provider="lab")["cost_input_per_million"].isna().all()
        assert kit.catalog.provider("lab").balance is None
        kit.sql("SELECT 1")


def test_a_provider_that_is_needed_is_not_deleted(tmp_path):
    """One that came with llmkit, that a run has asked, or that has the model of an internal task; with what to do."""
    with open_kit(tmp_path / "k.duckdb", simulate=True) as kit:
        catalog = kit.catalog
        for name in ("lab", "judge"):
            catalog.add_provider(name, base_url="http://localhost:1/v1")
            catalog.add_model(f"{name}:gpt-6-luna", cost_input_per_million=1, cost_output_per_million=2)
        kit.run("a", "lab:gpt-6-luna").result(60)
        catalog.set_infra_model("judge", "judge:gpt-6-luna")
        n_events = len(catalog.history())
        for name, words in (("openai", "comes with llmkit"), ("lab", "runs refer to it"), ("judge", "set_infra_model")):
            with pytest.raises(ValidationError, match=words):
                catalog.delete_provider(name)
        assert len(catalog.history()) == n_events


def test_undo_goes_back_beyond_what_was_added(tmp_path):
    """A model with its price and default mark, then its provider, then the change before; a rebuilt database agrees."""
    path = tmp_path / "k.duckdb"
    with open_kit(path, simulate=True) as kit:
        catalog, before = kit.catalog, kit.catalog.state()
        catalog.update_provider("openai", max_parallel_requests=9)
        catalog.add_provider("lab", base_url="http://localhost:1/v1")
        catalog.add_model("lab:one", cost_input_per_million=1, cost_output_per_million=2, set_as_default=True)
        catalog.set_balance("lab", 5)
        told = [(catalog.last_change(), catalog.undo()) for _ in range(4)]
        assert [words for words, _ in told] == [
            "lab: balance none → $5.00",
            "lab:one: added; lab:one: default no → yes",
            "lab: added",
            f"openai: max parallel requests {before.providers['openai'].max_parallel_requests} → 9",
        ]
        state = catalog.state()
        assert (state.models, state.prices, state.providers.keys()) == (
            before.models,
            before.prices,
            before.providers.keys(),
        )
        with pytest.raises(ValidationError, match="no change"):
            catalog.undo()
    path.unlink()
    with open_kit(path, simulate=True) as kit:
        assert kit.catalog.state() == state


def test_what_a_run_has_asked_stays_when_its_addition_is_undone(tmp_path):
    """The sentence says what to do instead, and the history is as it was."""
    with open_kit(tmp_path / "k.duckdb", simulate=True) as kit:
        catalog = kit.catalog
        catalog.add_model("openai:gpt-6-mine", cost_input_per_million=1, cost_output_per_million=2)
        kit.run("a", "openai:gpt-6-mine").result(60)
        with pytest.raises(ValidationError, match=r"Adding openai:gpt-6-mine cannot be undone.*: deprecate it"):
            catalog.undo()
        assert "openai:gpt-6-mine" in catalog.state().models
