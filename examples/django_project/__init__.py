"""A Django project that submits plans together with its rows, and runs them."""
