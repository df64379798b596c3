"""The stand-alone Celery app: `celery -A workers.app worker`.

Configured by `celeryconfig.py` and the `PLANS_…` settings. A project with its own
Celery app calls `execution.celery.register` instead.
"""

from execution.celery import register
from execution.dispatcher import create_app
from execution.settings import Settings

settings = Settings.from_environment()
app = create_app(settings)
register(app, settings)
