"""Several machines sharing one account: PostgreSQL relays what a run writes to the journals of all members.

Every member keeps a local database built from the same journal. Only ``address`` and ``relay`` talk to PostgreSQL.
``exchange`` synchronizes the journals; ``membership`` runs that once a second, makes edits under the team's lock and
takes this process's portion of the limits, ``treasury`` its portion of the budgets.
"""

from llmkit.limiter import Gate
from llmkit.store import Store
from llmkit.team.address import Address, init
from llmkit.team.membership import Team
from llmkit.team.team_table import team_table

__all__ = ["Team", "init", "join", "team_table"]


def join(store: Store, gate: Gate, url: str, actor: str) -> Team:
    """Connect a store to a team, whose catalog it has from now on.

    Raises:
        CatalogBusy: the team's database does not answer, and no copy of its catalog is here yet.
        ValidationError: not a PostgreSQL URL, the database is not prepared, or the store has a different catalog.
    """
    team = Team(store.journal, gate, Address(url), actor)
    store.peers = team
    try:
        team.join()
    except BaseException:
        store.close()
        raise
    return team
