"""A real PostgreSQL and a real Valkey on unix sockets, for one machine.

    with LocalStack.start(home) as stack:
        connect(stack.urls.database_url)

For trying things out, for tests and for small installations; production brings
servers of its own. Read in this order:

    stack.py       what callers use: start, URLs, close
    startup.py     use what runs or start afresh, one process at a time
    keeper.py      the small process beside each server that ends it in time
    locks.py       the four lock files, which are all the coordination there is
    postgres.py    what is particular to PostgreSQL
    valkey.py      what is particular to Valkey
    superuser.py   what root has to do because PostgreSQL refuses root
    places.py      where files and sockets may lie
    binaries.py    where the servers' programs are found
    wire.py        asking a server whether it is ready

It promises that a server runs while somebody holds it and ends soon after nobody
does, however the holders ended. It knows nothing of plans, Celery or drivers:
only the standard library and this project's errors.
"""

from .stack import LocalStack, RunningServer, StackUrls, find_database_url

__all__ = ["LocalStack", "RunningServer", "StackUrls", "find_database_url"]
