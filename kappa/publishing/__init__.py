"""From files and rows to a topic: read, checked against the topic's schema, encoded, published."""
