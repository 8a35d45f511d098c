"""The internal tasks that have their own model. A new task registers its purpose with a row here."""

from __future__ import annotations

from dataclasses import dataclass

_PREFIX = "infra_model_"


@dataclass(frozen=True, slots=True)
class Purpose:
    """A task that a model can be set for, with its texts for forms. Without one, the model of ``fallback`` is used."""

    name: str
    title: str
    sentence: str
    fallback: str | None = None

    @property
    def key(self) -> str:
        """The setting that holds its model."""
        return f"{_PREFIX}{self.name}"


PURPOSES = {
    purpose.name: purpose
    for purpose in (
        Purpose("scenario_expansion", "Scenario expansion", "Writes new scenarios from a description."),
        Purpose("summarization", "Summarization", "Summarizes the answers of a run."),
        Purpose("judge", "Judge", "Codes the answers of a run.", fallback="summarization"),
    )
}


def purpose_name(key: str) -> str | None:
    """The purpose whose model a setting holds; ``None`` when it is another setting."""
    return key.removeprefix(_PREFIX) if key.startswith(_PREFIX) else None
