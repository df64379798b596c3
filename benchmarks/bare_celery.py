"""A Celery app with the settings of the stand-alone one, and without plans."""

from execution.dispatcher import create_app
from execution.settings import Settings

app = create_app(Settings.from_environment())
