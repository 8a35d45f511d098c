"""Which environment variables can hold the API key of a provider."""

from __future__ import annotations

import re

_NAME = re.compile(r"(.+_)?(API_?)?(KEY|TOKEN)", re.IGNORECASE)
_OTHER_DOORS = (
    "ACCESS ACCOUNT ENCRYPTION MASTER PRIVATE REFRESH SECRET SESSION SIGNING SSH STORAGE "
    "AWS CI GH GITHUB GITLAB JPY JUPYTER JUPYTERHUB NPM PYPI SLACK"
)
_NO_API_KEY = frozenset(_OTHER_DOORS.split())


def names_api_key(variable: str) -> bool:
    """Whether a name is one that API keys of models have: ``ACME_API_KEY``, ``ACME_KEY``, ``HF_TOKEN``; but not
    ``AWS_SECRET_ACCESS_KEY`` or ``JUPYTERHUB_API_TOKEN``, which open other doors.
    """
    return bool(_NAME.fullmatch(variable)) and _NO_API_KEY.isdisjoint(variable.upper().split("_"))


def is_of_provider(variable: str, provider_name: str) -> bool:
    """Whether a name is one that an API key of this provider has: it holds the provider's name."""
    return names_api_key(variable) and _letters(provider_name) in _letters(variable)


def _letters(name: str) -> str:
    return re.sub(r"[^A-Z0-9]", "", name.upper())
