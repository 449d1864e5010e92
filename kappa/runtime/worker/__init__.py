"""A worker: from a claimed partition's records to its checkpoints."""
