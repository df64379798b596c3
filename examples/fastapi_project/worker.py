"""The project's Celery app, whose workers make the reports.

celery -A fastapi_project.worker worker -Q celery,plans
"""

import os

from celery import Celery

from execution.celery import register

app = Celery(
    "reports",
    broker=os.environ["PLANS_BROKER_URL"],
    include=["fastapi_project.actions"],
)
register(app)
