"""Several machines sharing one account: PostgreSQL relays what a run writes to the journals of all members.

Every member keeps a local database built from the same journal. ``address`` opens a session in the team's database,
where two files have tables of their own: ``exchange`` synchronizes the journals, and in the ``roll`` limits and budgets
are divided. ``membership`` does both once a second, and makes edits under the team's lock.
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
    store.peers = team = Team(store.journal, gate, Address(url), actor)
    team.join()
    return team
