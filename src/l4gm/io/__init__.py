"""The edge of the system: what any file or process from outside may cost, whatever it holds."""
