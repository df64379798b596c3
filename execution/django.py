"""The settings of a Django project, as those of plans.

What the environment says goes first, then `PLANS_…` in Django's settings. The database
is that of `DATABASES`, unless one is named: an execution that is submitted with rows of
Django's must lie beside them.

It must not know what is done with the settings.
"""

import os
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote, urlencode

from django.conf import settings as django_settings

from .errors import SettingsError
from .settings import Settings
from .variables import FILE_SUFFIX

_DATABASE = ("PLANS_DATABASE_URL", f"PLANS_DATABASE_URL{FILE_SUFFIX}")
_POSTGRESQL = ("postgresql", "postgis")
_OPTIONS = ("sslmode", "sslrootcert", "sslcert", "sslkey", "service", "passfile")


def read_settings(
    *, using: str = "default", environment: Mapping[str, str] | None = None
) -> Settings:
    """Return the settings of plans in this Django project.

    `using` is the alias of the database where the tables of plans are, and
    `environment` by default that of the process. Raises SettingsError for a value that
    cannot work, or a database that is not PostgreSQL.
    """
    said = os.environ if environment is None else environment
    named = {
        name: _write(getattr(django_settings, name))
        for name in dir(django_settings)
        if name.startswith("PLANS_")
    }
    values = {**_leave_out_said(named, said), **said}
    if not any(values.get(name) for name in _DATABASE):
        database = django_settings.DATABASES.get(using, {})
        values["PLANS_DATABASE_URL"] = build_database_url(database, using)
    return Settings.from_environment(values)


def build_database_url(database: Mapping[str, Any], using: str) -> str:
    """Return the URL of an entry of `DATABASES`, which is called `using`.

    Raises SettingsError when it is not PostgreSQL.
    """
    engine = str(database.get("ENGINE", ""))
    if not engine.endswith(_POSTGRESQL):
        raise SettingsError(
            f"DATABASES[{using!r}] is not PostgreSQL, but {engine or 'nothing'}; name"
            " the database of plans in PLANS_DATABASE_URL"
        )
    host, user = str(database.get("HOST") or ""), str(database.get("USER") or "")
    options = {
        name: value
        for name, value in (database.get("OPTIONS") or {}).items()
        if name in _OPTIONS
    }
    if host.startswith("/"):
        # the folder of a socket, which has no place in the middle of a URL
        options["host"], host = host, ""
    password = str(database.get("PASSWORD") or "")
    login = quote(user, safe="") + (password and f":{quote(password, safe='')}")
    port = f":{database['PORT']}" if database.get("PORT") else ""
    name = quote(str(database.get("NAME") or ""), safe="")
    address = f"{login}@{host}{port}" if login else f"{host}{port}"
    query = f"?{urlencode(options)}" if options else ""
    return f"postgresql://{address}/{name}{query}"


def _leave_out_said(
    named: Mapping[str, str], said: Mapping[str, str]
) -> dict[str, str]:
    """Leave out what the environment says in the other way: with a file, or without."""
    fields = {name.removesuffix(FILE_SUFFIX) for name, text in said.items() if text}
    return {
        name: text
        for name, text in named.items()
        if name.removesuffix(FILE_SUFFIX) not in fields
    }


def _write(value: object) -> str:
    match value:
        case None:
            return ""
        case bool():
            return str(int(value))
        case list() | tuple():
            return ",".join(str(one) for one in value)
        case _:
            return str(value)
