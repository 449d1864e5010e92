"""kappa: keep history in Kafka, rebuild any table by replay, switch versions atomically."""
