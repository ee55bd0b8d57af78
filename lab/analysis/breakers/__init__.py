"""Circuit breakers: what they did, and what they must do by arithmetic."""
