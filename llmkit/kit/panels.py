"""The widgets of a kit, as its methods. Each is imported when it is asked for: ipywidgets is slow to load."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from llmkit.analysis import Run
from llmkit.runs import RunHandle
from llmkit.scenarios import Prompts

if TYPE_CHECKING:
    from llmkit.kit.kit import Kit


def models_panel(kit: Kit) -> Any:
    """The form for models: prices, lifecycle, defaults."""
    from llmkit.widgets.models_panel import ModelsPanel

    return ModelsPanel(kit)


def providers_panel(kit: Kit) -> Any:
    """The form for providers: limits, keys, custom endpoints."""
    from llmkit.widgets.providers_panel import ProvidersPanel

    return ProvidersPanel(kit)


def infra_panel(kit: Kit) -> Any:
    """The form for the models of internal tasks."""
    from llmkit.widgets.infra_panel import InfraPanel

    return InfraPanel(kit)


def settings_panel(kit: Kit) -> Any:
    """Models, providers and infrastructure as tabs."""
    from llmkit.widgets.settings_panel import SettingsPanel

    return SettingsPanel(kit)


def run_form(kit: Kit, prompts: Prompts | None = None) -> Any:
    """The form that starts a run: models, samples, budget, a live estimate, then progress."""
    from llmkit.widgets.run_form import RunForm

    return RunForm(kit, prompts)


def run_panel(kit: Kit, handle: RunHandle[Run]) -> Any:
    """The panel of a run under way."""
    from llmkit.widgets.run_panel import RunPanel

    return RunPanel(handle, kit.resume)


def run_view(kit: Kit, run: Run) -> Any:
    """The view of a run."""
    from llmkit.widgets.run_view import RunView

    return RunView(run, kit.resume)
