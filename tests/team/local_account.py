"""A provider that is really billed, and is on this machine."""


def add_local(kit, sim, **limits):
    """A provider on this machine that is really billed, with money on its account."""
    kit.catalog.add_provider("local", base_url=sim.url_for("openai"), api_key_env="LOCAL_API_KEY", **limits)
    kit.catalog.update_provider("local", approve_origin=True)  # on this machine, for all who are in the team here
    kit.catalog.add_model("local:gpt-6-luna", cost_input_per_million=1, cost_output_per_million=4)
    kit.catalog.set_balance("local", 100)
