"""The stand-alone Celery app, for those who have none of their own.

`python -P -m celery_plans.celery.standalone worker …` is `celery -A … worker …` for it:
any subcommand and option of Celery's works. `plans worker` and `plans up` start it in
this way, and not by `-A NAME`, because `-A` looks a name up in the working directory
first, where a project may well keep a package `workers` of its own. With `-P` the
interpreter does not look there either; the user's actions are found in the working
directory later on, when this package has been imported: under the name `celery_plans`,
where the project has an `execution` of its own, too.
"""

import ctypes
import os
import signal
import sys
from typing import Any

from celery import Celery, signals
from celery.bin.base import CLIContext
from celery.bin.worker import worker

from ..dispatcher import create_app
from ..settings import Settings
from .intake import harden
from .log_fields import show_fields
from .registration import register, require_database_url

_PR_SET_PDEATHSIG = 1


def build_app() -> Celery:
    """Return a Celery app of the environment's settings, with plans registered.

    Raises SettingsError when no database is named.
    """
    settings = Settings.from_environment()
    require_database_url(settings)
    app = create_app(settings)
    register(app, settings)
    harden(app)
    signals.after_setup_logger.connect(show_fields)
    main_pid = os.getpid()

    def die_with_the_worker(**_: Any) -> None:
        # A child whose main process was killed would run on unseen, and finish a step
        # that is being run again by somebody else. Its write is refused, its effect is
        # not. In a pool without children, this is the main process itself.
        if sys.platform == "linux" and os.getpid() != main_pid:
            ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
            if os.getppid() != main_pid:
                os._exit(1)

    signals.worker_process_init.connect(die_with_the_worker, weak=False)
    return app


def run_command(app: Celery, arguments: list[str]) -> int:
    """Run `celery ARGUMENTS` for this app; return its exit code.

    A worker does not come by way of the list of all commands: that would load Flower,
    an interactive shell and whatever else is installed for Celery, in each worker.
    """
    if arguments[:1] != ["worker"]:
        return int(app.start(arguments) or 0)
    context = CLIContext(app, no_color="NO_COLOR" in os.environ, workdir=None)
    code = worker.main(
        arguments[1:], "celery worker", standalone_mode=False, obj=context
    )
    return int(code or 0)


def obey_early() -> None:
    """End well when told to stop, from now on until Celery obeys that itself.

    `plans worker` has held it back until now: who is told to stop while it starts has
    stopped well, and was not killed.
    """
    # not by SystemExit, which what is just imported might catch; nothing runs yet
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})


if __name__ == "__main__":
    obey_early()
    sys.exit(run_command(build_app(), sys.argv[1:]))
