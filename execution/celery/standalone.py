"""The stand-alone Celery app, for those who have none of their own.

`python -P -m execution.celery.standalone worker …` is `celery -A … worker …` for it:
any subcommand and option of Celery's works. `plans worker` and `plans up` start it in
this way, and not by `-A NAME`, because `-A` looks a name up in the working directory
first, where a project may well keep a package `workers`, or even an `execution`, of
its own. With `-P` the interpreter does not look there either; the user's actions are
found in the working directory later on, when this package has been imported.
"""

import ctypes
import os
import signal
import sys
from typing import Any

from celery import Celery, signals

from execution.celery.intake import harden
from execution.celery.registration import register, require_database_url
from execution.dispatcher import create_app
from execution.settings import Settings

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


if __name__ == "__main__":
    sys.exit(build_app().start(sys.argv[1:]))
