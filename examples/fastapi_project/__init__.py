"""A web service that has reports made by workers, and tells how far they are."""
