"""HTTP between services: middleware, client, authentication, idempotency, problem details."""
