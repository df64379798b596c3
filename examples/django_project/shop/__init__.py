"""The project; `celery -A shop` finds its app here."""

from .celery import app as celery_app

__all__ = ["celery_app"]
