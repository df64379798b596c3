"""The Celery app, as Celery's guide for Django has it, and one line for plans."""

import os

from celery import Celery

from execution.celery import register
from execution.django import read_settings

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "shop.settings")

app = Celery("shop")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()
register(app, read_settings())
