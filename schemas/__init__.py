"""Every record on the wire, its codec, and the table of topics. Needs msgspec and nothing else."""
