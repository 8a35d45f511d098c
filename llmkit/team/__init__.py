"""Several machines with one account: what a run writes is relayed by PostgreSQL to the journals of the others.

Everybody keeps a database of their own, made of the same journal. ``address`` and ``relay`` are all that
is said to PostgreSQL, ``exchange`` what journals give each other, ``membership`` the process that does so once a
second, edits under the team's lock, and takes its portion of the limits, ``treasury`` that of budgets.
"""

from llmkit.limiter import Gate
from llmkit.store import Store
from llmkit.team.address import Address, init
from llmkit.team.membership import Team
from llmkit.team.team_table import team_table

__all__ = ["Team", "init", "join", "team_table"]


def join(store: Store, gate: Gate, url: str, actor: str) -> Team:
    """Make a store's catalog that of a team from now on.

    Raises:
        CatalogBusy: the team's database does not answer, and nothing of it is here yet.
        ValidationError: no URL of PostgreSQL, one that is not prepared, or the store has another catalog.
    """
    team = Team(store.journal, gate, Address(url), actor)
    store.peers = team
    try:
        team.join()
    except BaseException:
        store.close()
        raise
    return team
