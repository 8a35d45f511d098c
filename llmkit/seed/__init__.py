"""The shipped catalog: read from its files, and put into a database that lacks it or has an older one."""

from llmkit.seed.files import Seed, load_seed, sample_scenarios
from llmkit.seed.update import FINGERPRINT, seed_catalog

__all__ = ["FINGERPRINT", "Seed", "load_seed", "sample_scenarios", "seed_catalog"]
