"""How fast the parts are on this machine: `l4gm bench`."""
