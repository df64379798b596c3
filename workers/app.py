"""The stand-alone Celery app: `celery -A workers.app worker`.

Configured by `celeryconfig.py` and the `PLANS_…` settings. `plans worker` runs the same
app without looking for it by this name. A project with its own Celery app calls
`execution.celery.register` instead.
"""

from celery_plans.celery.standalone import build_app

app = build_app()
