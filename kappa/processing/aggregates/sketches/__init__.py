"""What worker-merged aggregates keep of a group: sets, registers, buckets, chosen values."""
