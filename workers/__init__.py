"""Deployment: the stand-alone Celery app, for those who have none of their own."""
