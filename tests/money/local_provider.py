"""A provider at a simulator's address, for kits that do not rehearse."""

LOCAL = "local:gpt-6-luna"
FAST = {"max_parallel_requests": 20, "requests_per_minute": 100_000}


def add_local(kit, sim, **prices):
    """The provider ``local`` with one model, at $1 and $4 per million tokens unless told otherwise."""
    kit.catalog.add_provider("local", base_url=sim.url_for("openai"), api_key_env="LOCAL_API_KEY", **FAST)
    given = {"cost_input_per_million": "1", "cost_output_per_million": "4", "max_output_tokens": 4000, **prices}
    kit.catalog.add_model(LOCAL, **given)
