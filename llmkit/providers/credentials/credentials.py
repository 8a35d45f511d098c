"""The keys of a session, and where each may be sent."""

from __future__ import annotations

import getpass
import json
import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from types import MappingProxyType

import portalocker

from llmkit.errors import OriginNotApproved, ValidationError
from llmkit.providers.credentials.key_names import is_of_provider, names_api_key
from llmkit.providers.credentials.keys import Key, checked_key, read_dotenv
from llmkit.records import Provider
from llmkit.records.checks.addresses import can_be_asked, is_open, origin_of
from llmkit.records.private_files import config_folder, replace_private

ALTERNATIVES: Mapping[str, tuple[str, ...]] = MappingProxyType({"GOOGLE_API_KEY": ("GEMINI_API_KEY",)})
"""Variables to read if the first one is not set; Google's own library uses the same order."""


class Credentials:
    """The keys of this session and the addresses that they may be sent to.

    ``shipped`` returns a provider's known origins by its name. ``config_dir`` (default: the user's
    configuration folder) holds the approvals: a JSON file of mode 0600 with, by provider name, an origin and, after a
    space, the variable whose key may be sent there. ``dotenv`` is a file with keys (default: ``.env`` in the working
    directory).
    """

    def __init__(
        self,
        config_dir: Path | None = None,
        dotenv: Path | None = None,
        *,
        shipped: Callable[[str], Iterable[str]] = lambda _: (),
    ) -> None:
        self._approvals = (config_dir or config_folder()) / "approved_origins.json"
        self._dotenv = Path(dotenv or Path.cwd() / ".env")
        self._shipped = shipped
        self._typed: dict[str, Key] = {}

    def __repr__(self) -> str:
        return "<llmkit.Credentials>"

    def key(self, provider: Provider) -> Key | None:
        """The provider's key; ``None`` if it is not set, or if the provider needs none.

        Raises:
            ValidationError: the value cannot be a key (a line break, a control character, a letter outside ASCII).
        """
        if provider.api_key_env is None:
            return None
        found = self._found((provider.api_key_env, *ALTERNATIVES.get(provider.api_key_env, ())))
        return self._typed.get(provider.api_key_env) if found is None else checked_key(*found)

    def _found(self, names: Iterable[str]) -> tuple[Key, str] | None:
        """The first of these variables that is set in the environment, else in the ``.env`` file, and its source."""
        for values, place in ((os.environ, "the environment"), (read_dotenv(self._dotenv), str(self._dotenv.name))):
            for name in names:
                if raw := (values.get(name) or "").strip():
                    return Key(raw), f"{name} ({place})"
        return None

    def has_key(self, provider: Provider) -> bool:
        """Whether the provider's key is set, or it needs none. A malformed key is set: asking says what is wrong."""
        try:
            return provider.api_key_env is None or self.key(provider) is not None
        except ValidationError:
            return True

    def ask(self, provider: Provider) -> None:
        """Prompt for the provider's key without echo, and keep it in memory for this session.

        Raises:
            ValidationError: nothing was typed, the text cannot be a key, or the provider needs none.
        """
        if provider.api_key_env is None:
            raise ValidationError(f"{provider.display_name} needs no key.", field="api_key_env")
        key = Key(getpass.getpass(f"API key of {provider.display_name} (not stored): ").strip())
        if not key.reveal():
            raise ValidationError("No key was typed.", field="api_key_env")
        self._typed[provider.api_key_env] = checked_key(key, "the prompt")

    def origin_allowed(self, provider_name: str, base_url: str, variable: str) -> bool:
        """Whether the provider's key in ``variable`` may be sent there: it was approved for that address, or the
        address is shipped and the variable bears the provider's name.
        """
        try:
            origin = origin_of(base_url)
        except ValidationError:
            return False
        if not can_be_asked(origin):
            return False
        is_shipped = origin in map(origin_of, self._shipped(provider_name))
        if is_shipped and is_of_provider(variable, provider_name):
            return True
        return f"{origin} {variable}" in self._approved().get(provider_name, ())

    def approve_origin(self, provider_name: str, base_url: str, variable: str) -> None:
        """Permanently allow this user on this machine to send the provider's key in ``variable`` to this URL's origin;
        safe among kernels.

        Raises:
            ValidationError: not a plain URL, http on a public network, or the approvals file is damaged.
        """
        origin = origin_of(base_url)
        if not can_be_asked(origin):
            raise ValidationError(f"{origin} is not https: {_IN_THE_OPEN}", field="base_url")
        self._approvals.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with portalocker.Lock(self._approvals.with_suffix(".lock"), timeout=10, check_interval=0.02):
            approved = self._approved()
            approved[provider_name] = sorted({*approved.get(provider_name, ()), f"{origin} {variable}"})
            replace_private(self._approvals, json.dumps(approved, indent=2).encode())

    def _approved(self) -> dict[str, list[str]]:
        try:
            approved = json.loads(self._approvals.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return {}
        except ValueError:
            approved = None
        if isinstance(approved, dict) and all(isinstance(origins, list) for origins in approved.values()):
            return approved
        raise ValidationError(
            f"{self._approvals} is damaged, so no address counts as approved. Delete it and approve again."
        )

    def check(self, provider: Provider) -> None:
        """Check that the provider's key may be sent to its ``base_url``.

        Raises:
            OriginNotApproved: it may not; the message says what to do.
        """
        if provider.api_key_env is None or self.origin_allowed(provider.name, provider.base_url, provider.api_key_env):
            return
        try:
            origin = origin_of(provider.base_url)
        except ValidationError as error:
            raise OriginNotApproved(f"The base_url of {provider.name} is refused. {error}", field="base_url") from None
        if not can_be_asked(origin):
            raise OriginNotApproved(
                f"The key of {provider.name} is not sent to {origin}: it is not https, and {_IN_THE_OPEN} "
                "Change the provider's base_url.",
                field="base_url",
            )
        raise OriginNotApproved(how_to_approve(provider), field="base_url")


_IN_THE_OPEN = "the key, the prompts and the answers would travel unencrypted."


def how_to_approve(provider: Provider) -> str:
    """Why the provider's key is not sent to its address yet, and the call that approves it."""
    origin, variable = origin_of(provider.base_url), provider.api_key_env or ""
    risk = f"It is not https: on that network {_IN_THE_OPEN} " if is_open(origin) else ""
    odd = "" if names_api_key(variable) else f"{variable} does not look like the name of an API key. "
    return (
        f"The key of {provider.name} in {variable} is not sent to {origin}: llmkit does not know this address, and you "
        f"have not approved it for this key on this machine. {odd}{risk}If you trust it with the key, call "
        f"kit.catalog.update_provider({provider.name!r}, base_url={provider.base_url!r}, approve_origin=True)."
    )
