"""The formats that the simulator speaks."""
