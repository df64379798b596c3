"""`plans flower`: Flower with a tab of executions, in the foreground.

Promises: without a login it does not start, unless that is given up for the loopback;
neither a command line nor a message of it holds a password.
"""

from pathlib import Path
from typing import Annotated, Any

import typer

from ..errors import SetupError
from .options import Local

app = typer.Typer(add_completion=False)

_FIX = "Flower 2.2 is not installed; pip install 'celery-plans[flower]' adds it"


_Address = Annotated[
    str | None,
    typer.Option(metavar="IP", help="Where to listen; by default 127.0.0.1."),
]
_Port = Annotated[
    int | None,
    typer.Option(
        min=0, max=65535, help="The port; by default 5555, and with 0 any free one."
    ),
]
_Logins = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        envvar="PLANS_FLOWER_LOGINS_FILE",
        help="Who is let in: lines user:password.",
    ),
]
_Unauthenticated = Annotated[
    bool,
    typer.Option("--unauthenticated", help="Ask for no login; on the loopback alone."),
]
_ReadOnly = Annotated[bool, typer.Option("--read-only", help="Refuse every act.")]
_UrlPrefix = Annotated[
    str | None,
    typer.Option(metavar="PATH", help="Where a proxy shows it, if not at the root."),
]
_MaxTasks = Annotated[
    int | None,
    typer.Option(min=1, help="How many tasks to remember; by default 10,000."),
]
_CeleryApp = Annotated[
    str | None,
    typer.Option(
        "-A", "--app", metavar="MODULE:APP", help="Your own Celery app, if any."
    ),
]


@app.command()
def flower(
    address: _Address = None,
    port: _Port = None,
    logins: _Logins = None,
    unauthenticated: _Unauthenticated = False,
    read_only: _ReadOnly = False,
    url_prefix: _UrlPrefix = None,
    max_tasks: _MaxTasks = None,
    celery_app: _CeleryApp = None,
    _local: Local = False,
) -> None:
    """Run Flower, with a tab of executions, until Ctrl-C.

    It asks for a login of the file. What FLOWER_… variables say of anything else
    holds, too. PostgreSQL and the broker may be away; Flower goes on without them.

      plans flower --logins flower.logins
      plans flower --unauthenticated --read-only
      plans flower --logins flower.logins --address 0.0.0.0 --url-prefix flower
    """
    _serve(
        celery_app,
        address=address,
        port=port,
        url_prefix=url_prefix,
        max_tasks=max_tasks,
        read_only=read_only or None,
        logins=logins,
        is_unauthenticated=unauthenticated,
    )


def _serve(app_name: str | None, **chosen: Any) -> None:
    try:
        # loaded here, for it may not be there; it takes a second besides
        from ..flower.choices import FlowerChoices
        from ..flower.serving import serve
    except ImportError as error:
        # another release of it lacks what we need
        if (error.name or "").partition(".")[0] not in ("flower", "tornado"):
            raise
        raise SetupError(_FIX) from error
    serve(FlowerChoices(**chosen), app_name, _announce)


def _announce(place: str) -> None:
    typer.echo(f"Flower is at {place}  Ctrl-C ends it.")
