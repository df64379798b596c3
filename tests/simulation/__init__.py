"""The whole protocol under a seeded scheduler: our code, a real PostgreSQL, no luck."""
