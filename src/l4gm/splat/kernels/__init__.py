"""The stages of the CPU backend, in the order in which they run: project, sort, bin, composite."""
