"""API keys: where they come from, and where they may be sent.

A key is read from the environment, else from a ``.env`` file in the working directory, else from those typed in this
session. It is sent only to an address that was shipped for its provider, or that this user approved on this machine
for this provider and this variable. Approvals are stored in the user's configuration folder, not in the catalog, which
can come from somebody else.
"""

from llmkit.providers.credentials.credentials import Credentials, how_to_approve
from llmkit.providers.credentials.key_names import names_api_key
from llmkit.providers.credentials.keys import Key, redact

__all__ = ["Credentials", "Key", "how_to_approve", "names_api_key", "redact"]
