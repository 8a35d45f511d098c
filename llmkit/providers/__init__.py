"""Access to providers: wires (HTTP formats), transport and credentials."""
