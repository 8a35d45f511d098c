"""Providers: their wires, the transport, and the credentials that go with a request."""
