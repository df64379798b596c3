"""celery-plans under a name that no project has a package for.

`from celery_plans import action` is the same as from `execution`, and
`celery_plans.celery` the same module as `execution.celery`: one registry, one set of
errors. In a project with a package `execution` of its own the code is loaded under this
name alone, and theirs is left alone.
"""

from ._door import open_door

open_door(__name__)
