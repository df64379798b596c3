"""Plans inside a Celery app: `register(app)` is all that a project needs.

It adds the task `plans.step` to the app and a heartbeat and a reconciler to its
workers. No setting of the app is changed.
"""

from execution.celery.registration import register

__all__ = ["register"]
