"""Actions for a worker of the Django project, which do to it what may happen."""
