"""All of it together: engine, broker, workers, database, and what kills them."""
