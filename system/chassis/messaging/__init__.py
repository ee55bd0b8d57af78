"""Messages between services: the bus, the transactional outbox, the deduplicating inbox."""
