"""Which environment variables may hold the API key of a provider."""

from __future__ import annotations

import re

_NAME = re.compile(r"(.+_)?(API_?)?(KEY|TOKEN)", re.IGNORECASE)
_OTHER_DOORS = (
    "ACCESS ACCOUNT ENCRYPTION MASTER PRIVATE REFRESH SECRET SESSION SIGNING SSH STORAGE "
    "AWS CI GH GITHUB GITLAB JPY JUPYTER JUPYTERHUB NPM PYPI SLACK"
)
_NO_API_KEY = frozenset(_OTHER_DOORS.split())


def names_api_key(variable: str) -> bool:
    """Whether a variable looks like an API key for models: ``ACME_API_KEY``, ``ACME_KEY``, ``HF_TOKEN``; but not
    ``AWS_SECRET_ACCESS_KEY`` or ``JUPYTERHUB_API_TOKEN``, which give access to other things.
    """
    return bool(_NAME.fullmatch(variable)) and _NO_API_KEY.isdisjoint(variable.upper().split("_"))


def is_of_provider(variable: str, provider_name: str) -> bool:
    """Whether a variable looks like an API key of this provider: it also contains the provider's name."""
    return names_api_key(variable) and _letters(provider_name) in _letters(variable)


def _letters(name: str) -> str:
    return re.sub(r"[^A-Z0-9]", "", name.upper())
