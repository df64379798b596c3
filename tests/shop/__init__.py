"""A project of its own, as users have them: a Celery app with tasks of every kind.

It lends its workers to plans by `register(app)`, and knows nothing else of them.
"""
