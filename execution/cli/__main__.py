"""`python -m celery_plans.cli`: the command where its script is not on the path."""

from . import main

main()
