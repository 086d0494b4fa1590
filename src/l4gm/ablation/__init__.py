"""The paper's ablations (its Fig. 6), at a size that trains on a CPU core in minutes."""
