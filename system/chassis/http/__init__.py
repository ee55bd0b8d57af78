"""HTTP between services: the middleware, the client, identity, idempotency, problem answers."""
