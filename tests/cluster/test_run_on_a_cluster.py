"""A run on a cluster is checked, cancelled and shown as any other; keys stay where they are."""

import logging
import sys

import pytest
from cluster_client import PROVIDERS, ask, loosened
from distributed import Client, LocalCluster
from distributed.utils import get_ip

import llmkit
from llmkit.cluster import Link
from llmkit.errors import Code


def test_each_worker_without_a_key_is_named_before_anything_is_sent(path, client, monkeypatch):
    """Keys are not taken along: a key that only the client has is of no use."""
    monkeypatch.setenv("OPENAI_API_KEY", "sk-only-the-client-has-this")
    with llmkit.open(path) as kit, pytest.raises(llmkit.LlmkitError) as refused:
        kit.run("Hello", "openai:gpt-6-luna", max_tokens=10, on=client)
    for address in client.scheduler_info()["workers"]:
        assert f"Worker {address} has no key of OpenAI: set OPENAI_API_KEY" in str(refused.value)
    assert "sk-only" not in str(refused.value)
    with llmkit.open(path) as kit:
        assert kit.runs().empty


def test_a_network_that_others_may_read_is_refused_unless_trusted(kit, sim):
    """Without TLS, prompts go beyond this machine only when somebody says so."""
    if get_ip().startswith("127."):
        pytest.skip("This machine has no other address than its own loopback.")
    with LocalCluster(
        n_workers=1, processes=False, protocol="tcp://", host=get_ip(), dashboard_address=None
    ) as open_one:
        with Client(open_one) as client:
            with pytest.raises(llmkit.ValidationError, match="unencrypted"):
                ask(kit, client, 1)
            assert sim.count("requests") == 0
            trusted = ask(kit, client, 1, options={"trust_network": True}).result(timeout=60)
    assert trusted.probes["status"].tolist() == ["ok"] * 3


def test_workers_are_asked_for_their_keys_once(path, client, monkeypatch):
    """And not for each provider: a single worker that does not answer takes half a minute each time."""
    asked, call_all = [], Link.call_all

    def noted(link, function, providers):
        asked.append([each.name for each in providers])
        return call_all(link, function, providers)

    monkeypatch.setattr(Link, "call_all", noted)
    with llmkit.open(path) as kit, pytest.raises(llmkit.LlmkitError, match="OPENAI_API_KEY"):
        kit.run("Hello", on=client)
    [names] = asked
    assert len(names) > 1
    monkeypatch.setenv("OPENAI_API_KEY", "sk-only-the-client-has-this")
    with llmkit.open(path) as kit, pytest.raises(llmkit.RunRefused, match="Worker"):
        kit.run("Hello", ["openai:gpt-6-luna"], on=client)
    assert asked == [names] * 2


def test_a_closed_client_is_refused(kit, cluster):
    """With our error, whichever one Dask raises: it depends on what else is open."""
    with Client(cluster) as closed:
        pass
    with pytest.raises(llmkit.ValidationError, match=r"on= .* closed"):
        kit.run("Hello", "openai:gpt-6-luna", on=closed)


def test_a_cluster_without_workers_is_refused(kit):
    """The sentence says how to start some, and how to wait for those that are starting."""
    with LocalCluster(n_workers=0, processes=False, dashboard_address=None) as empty, Client(empty) as client:
        with pytest.raises(
            llmkit.LlmkitError, match=r"No worker .*cluster\.scale\(2\) .*client\.wait_for_workers\(2\)"
        ):
            ask(kit, client, 1)
    assert kit.runs().empty


@pytest.mark.parametrize("other", ["tcp://127.0.0.1:8786", object()])
def test_what_is_no_client_is_refused(kit, other):
    """The sentence says what to give."""
    with pytest.raises(llmkit.ValidationError, match=r"on=distributed\.Client"):
        ask(kit, other, 1)


def test_without_dask_the_extra_is_named(kit, monkeypatch):
    """Everything else works without it."""
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(llmkit.ValidationError, match=r"llmkit\[cluster\]"):
        ask(kit, object(), 1)


@pytest.mark.parametrize("options", [{"worker_timeout": 0}, {"worker_timeout": "soon"}, {"trust_network": "yes"}])
def test_options_that_make_no_sense_are_refused(kit, client, options):
    """Before anything is sent."""
    with pytest.raises(llmkit.ValidationError):
        ask(kit, client, 1, options=options)


def test_a_request_does_not_wait_until_others_are_answered(kit, client, sim):
    """With one at a time nothing is on its way when the next one is handed to a worker, which is asked for news then:
    if it waited for the end of that, each would take seconds.
    """
    sim.set(latency=0)
    loosened(kit, ["openai"], 1)
    prompts = [f"Say something about the number {number}." for number in range(30)]
    run = kit.run(prompts, kit.catalog.defaults()["openai"].reference, max_tokens=60, on=client).result(timeout=55)
    assert run.probes["status"].eq("ok").all()


def test_nothing_is_reported_when_a_cluster_closes_after_a_run(kit, caplog):
    """Dask reports calls that are under way when a worker goes: none is, once the run is over."""
    logger = logging.getLogger("distributed.scheduler")
    logger.addHandler(caplog.handler)
    try:
        with LocalCluster(n_workers=1, processes=False, protocol="tcp://", dashboard_address=None) as passing:
            with Client(passing) as client:
                ask(kit, client, 1).result(timeout=60)
    finally:
        logger.removeHandler(caplog.handler)
    assert [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING] == []


def test_a_run_is_cancelled_as_any_other(kit, client, sim):
    """What is on its way is saved; every row is there; nothing more is asked."""
    sim.set(latency=0.3)
    handle = ask(kit, client, 60)
    assert sim.wait_until(lambda: sim.count("ok") >= 10, timeout=60)
    handle.cancel()
    handle.wait()
    run = handle.run
    assert run.status == "cancelled"
    assert len(run.probes) == 180
    assert int(run.attempts["maybe_billed"].fillna(False).astype(bool).sum()) == 0
    assert sim.count("in_flight") == 0
    assert len(run.turns) == sim.count("billed")


def test_a_listener_that_starts_a_run_on_a_cluster_is_refused(kit, client):
    """Its thread is the one that asks the workers, for which it would wait for ever, and all runs with it."""
    told = []

    def listen(_):
        with pytest.raises(llmkit.LlmkitError, match="listener cannot start") as refused:
            ask(kit, client, 1)
        told.append(refused)

    assert ask(kit, client, 1, on_event=listen).result(timeout=60).status == "completed"
    assert told


def test_a_refusal_of_the_provider_ends_its_probes_only(kit, client, sim):
    """The rules of a run on one machine hold: a refused key skips that provider's rest."""
    sim.set(faults={"openai": {"auth": 1.0}})
    run = ask(kit, client, 10).result(timeout=60)
    by_provider = run.probes.groupby("provider")["status"].unique()
    assert set(by_provider["openai"]) <= {"failed", "skipped"}
    assert all(set(by_provider[name]) == {"ok"} for name in PROVIDERS if name != "openai")
    assert Code.AUTH_ERROR in set(run.probes["error_code"].dropna())
