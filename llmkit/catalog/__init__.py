"""The catalog of providers, models, prices and settings: its rules, its edits, and the shipped catalog."""

from llmkit.catalog.catalog import Catalog
from llmkit.catalog.lifecycle import DefaultChange, Deprecation
from llmkit.catalog.obstacles import Access, Obstacle, ObstacleKind
from llmkit.catalog.rules import OWN_ACTORS
from llmkit.catalog.seed_files import load_seed, sample_scenarios, shipped_origins
from llmkit.catalog.seeding import seed_catalog

__all__ = [
    "OWN_ACTORS",
    "Access",
    "Catalog",
    "DefaultChange",
    "Deprecation",
    "Obstacle",
    "ObstacleKind",
    "load_seed",
    "sample_scenarios",
    "seed_catalog",
    "shipped_origins",
]
