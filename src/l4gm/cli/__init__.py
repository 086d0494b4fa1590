"""The `l4gm` command: one short module per verb."""
