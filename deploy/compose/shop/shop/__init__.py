"""Your own package: a place for actions."""
