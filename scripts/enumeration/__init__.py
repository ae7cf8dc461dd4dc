"""Every point at which a command can be killed or cut off, one by one: `make enumerate`."""
