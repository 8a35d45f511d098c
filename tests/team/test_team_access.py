"""Getting in: what prepares a database, what is said when it cannot be reached, and who never learns the password."""

import logging
import sys

import psycopg
import pytest
from postgres import PASSWORD, slow_link
from waiting import until

import llmkit
from llmkit.cli import main
from llmkit.team import address


def test_preparing_twice_changes_nothing(url, member, capsys):
    """``llmkit team init`` may be repeated, also when the team is at work; its words have no password."""
    member("anna").catalog.set_balance("openai", 5)
    assert main(["team", "init", url]) == 0
    assert str(member("ben").catalog.provider("openai").balance) == "5.0000000000"
    out = capsys.readouterr().out
    assert "lab@127.0.0.1/" in out
    assert PASSWORD not in out
    assert url not in out


def test_a_database_that_is_not_prepared_says_how_to(server, tmp_path, capsys):
    """Also one that a newer version has prepared."""
    url = server.database("bare")
    with pytest.raises(llmkit.ValidationError, match="llmkit team init URL"):
        llmkit.open(tmp_path / "k.duckdb", team=url)
    assert main(["team", "init", url]) == 0
    with psycopg.connect(url) as session:
        session.execute("UPDATE llmkit_team SET version = 99")
    with pytest.raises(llmkit.ValidationError, match="pip install -U llmkit"):
        llmkit.open(tmp_path / "k.duckdb", team=url)
    assert main(["team", "init", url]) == 1
    assert "pip install -U llmkit" in capsys.readouterr().err


def test_a_team_in_a_schema_of_another_name_is_found(server, url, member, tmp_path):
    """A colleague whose search_path leaves it out is told what to add to the URL, and does not found a second team."""
    with psycopg.connect(url) as session:
        session.execute('CREATE SCHEMA "Anna"; CREATE SCHEMA ben')
        for table in ("team", "parts", "members", "stakes"):
            session.execute(f'ALTER TABLE llmkit_{table} SET SCHEMA "Anna"')
    with pytest.raises(llmkit.ValidationError, match='is in the schema "Anna", which is not on your') as refused:
        llmkit.open(tmp_path / "k.duckdb", team=url)
    option = str(refused.value).partition("add ")[2].partition(" to")[0]
    assert member("anna", team=f"{url}{option}").team()["actor"].tolist() == ["anna"]
    other = f"{url}?options=-csearch_path%3Dben"
    assert main(["team", "init", other]) == 0
    assert member("ben", team=other).team()["actor"].tolist() == ["ben"]


@pytest.mark.parametrize(
    "wrong",
    [
        "mysql://lab:geheim@host/x",
        "postgresql://lab:geheim@host/x?nonsense=geheim",
        "lab:geheim@host",
        7,
        "postgresql://lab:geheim@127.0.0.1:1/x\0y",
        "postgresql://lab:127\0geheim@127.0.0.1:1/x",
    ],
)
def test_what_is_no_url_of_postgresql_is_refused_without_quoting_it(wrong, tmp_path, capsys):
    """A password may be in it."""
    with pytest.raises(llmkit.ValidationError, match="postgresql://lab@host/llmkit") as refused:
        llmkit.open(tmp_path / "k.duckdb", team=wrong)
    assert "geheim" not in f"{refused.value!r} {refused.value.__cause__!r}"
    assert main(["team", "init", str(wrong)]) == 1
    assert "geheim" not in capsys.readouterr().err


def test_a_database_that_cannot_be_prepared_says_why_and_nothing_of_runs(url, tmp_path, capsys):
    """A name that is not there, a password that is not right, a user without rights: there is no work yet that could
    go on.
    """
    with psycopg.connect(url) as session:
        session.execute("CREATE ROLE guest LOGIN PASSWORD 'geheim/4711'")
    for wrong, reason in (
        (f"{url}x", "does not exist"),
        (url.replace("geheim", "falsch"), "authentication failed"),
        (url.replace("lab:", "guest:"), "permission denied for table llmkit_team. Check its address and what its user"),
    ):
        assert main(["team", "init", wrong]) == 1
        with pytest.raises(llmkit.CatalogBusy) as refused:
            llmkit.open(tmp_path / "k.duckdb", team=wrong)
        for told in (capsys.readouterr().err, str(refused.value)):
            assert "cannot be used: " in told
            assert reason in told
            assert "Runs continue" not in told


@pytest.mark.parametrize("wrong", ["lab:ge@heim@127.0.0.1:1/x", "lab:g@h/geheim@127.0.0.1:1/x"])
def test_a_password_with_an_unescaped_at_sign_is_not_taken_for_a_host(wrong, tmp_path):
    """PostgreSQL's library would, and the error would show the rest of the password."""
    with pytest.raises(llmkit.ValidationError, match="%40") as refused:
        llmkit.open(tmp_path / "k.duckdb", team=f"postgresql://{wrong}")
    assert "heim" not in str(refused.value)


def test_an_address_read_from_a_file_may_end_with_its_line(url, member):
    """What surrounds it is no part of the database's name."""
    assert member("anna", team=f"{url}\n").team()["actor"].tolist() == ["anna"]


def test_the_password_is_nowhere(url, member, tmp_path, caplog, capsys):
    """Not in what a kit shows, logs or writes, and not in the error of a login that fails."""
    caplog.set_level(logging.DEBUG)
    kit = member("anna")
    kit.run("What is fair?", "openai:gpt-6-luna").result(60)
    shown = [repr(kit), str(kit._repr_mimebundle_()), kit.doctor().to_string()]
    shown += [repr(each) for each in vars(kit).values()] + [repr(vars(kit._store.peers))]
    kit.close()
    with pytest.raises(llmkit.CatalogBusy) as refused:
        llmkit.open(tmp_path / "k.duckdb", team=url.replace("geheim", "falsch"))
    assert "falsch" not in str(refused.value)
    written = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    for secret in (PASSWORD, "geheim"):
        assert not any(secret in text for text in [*shown, caplog.text, str(refused.value), *capsys.readouterr()])
        assert secret.encode() not in written


def test_a_server_that_hangs_is_not_waited_for(server, member, monkeypatch):
    """TCP does not notice it: an edit is refused, a run continues, the kit closes; later all is exchanged."""
    monkeypatch.setattr(address, "SILENCE", 0.5)
    anna, ben = member("anna"), member("ben")
    with server.hanging():
        with pytest.raises(llmkit.CatalogBusy, match="cannot be used: "):
            anna.catalog.set_balance("openai", 5)
        run = anna.run("What is fair?", "openai:gpt-6-luna").result(60)
        assert run.status == "completed"
        anna.close()
    member("anna").catalog.set_balance("openai", 5)
    until(lambda: run.id in ben.runs()["run_id"].tolist())


def test_a_slow_link_is_not_taken_for_silence(url, monkeypatch):
    """A long line takes longer than a server may be silent, but something is sent all the while."""
    monkeypatch.setattr(address, "SILENCE", 4)
    line = bytes(20_000_000)
    with slow_link(url, 2_000_000) as slow, address.Address(slow).session() as session:
        assert session.execute("SELECT length(%b)", [line]).fetchall() == [(len(line),)]


def test_without_the_extra_everything_else_works(tmp_path, monkeypatch):
    """The error names the extra; a kit without a team never looks for psycopg."""
    monkeypatch.setitem(sys.modules, "psycopg", None)
    for name in [name for name in sys.modules if name.startswith("llmkit.team")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.delattr(llmkit, "team", raising=False)
    with pytest.raises(llmkit.ValidationError, match=r"pip install 'llmkit\[team\]'"):
        llmkit.open(tmp_path / "k.duckdb", team="postgresql://lab@host/llmkit")
    with llmkit.open(tmp_path / "k.duckdb", simulate=True) as kit:
        assert kit.run("What is fair?", "openai:gpt-6-luna").result(60).status == "completed"
