"""Where API keys come from, and where they may go.

A key is looked for in the environment, then in a ``.env`` file of the working directory, then among those typed for
this session. It is sent only to an address that was shipped for its provider, or that this user approved on this
machine, for this provider and this variable. Approvals are kept in the user's configuration folder and not in the
catalog: a catalog can come from somebody else.
"""

from llmkit.providers.credentials.credentials import Credentials, how_to_approve
from llmkit.providers.credentials.key_names import names_api_key
from llmkit.providers.credentials.keys import Key, redact

__all__ = ["Credentials", "Key", "how_to_approve", "names_api_key", "redact"]
