"""How fast the networks are on this machine, and beside another program in the same run."""
