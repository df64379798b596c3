"""Django's settings; the servers are named by the environment."""

import os

SECRET_KEY = os.environ.get("SHOP_SECRET_KEY", "for development alone")
ALLOWED_HOSTS = ["127.0.0.1", "localhost"]
INSTALLED_APPS = ["orders"]
ROOT_URLCONF = "shop.urls"
USE_TZ = True
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": os.environ.get("SHOP_DATABASE", "shop"),
        "USER": os.environ.get("SHOP_DATABASE_USER", ""),
        "PASSWORD": os.environ.get("SHOP_DATABASE_PASSWORD", ""),
        "HOST": os.environ.get("SHOP_DATABASE_HOST", ""),
        # kept from request to request, and from step to step
        "CONN_MAX_AGE": 600,
    }
}

CELERY_BROKER_URL = os.environ.get("SHOP_BROKER_URL", "redis://localhost:6379/0")
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_BROKER_TRANSPORT_OPTIONS = {"socket_timeout": 5}

# the database of plans is that of DATABASES; their tables lie in a schema of their own
PLANS_BROKER_URL = CELERY_BROKER_URL
PLANS_IMPORTS = ["orders.actions"]
