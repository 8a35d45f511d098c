"""The catalog of providers, models, prices and settings, and the rules by which it changes."""

from llmkit.catalog.catalog import Catalog, DefaultChange, Deprecation
from llmkit.catalog.reading import CatalogReader
from llmkit.catalog.rules import PURPOSES

__all__ = ["PURPOSES", "Catalog", "CatalogReader", "DefaultChange", "Deprecation"]
