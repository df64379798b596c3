"""Plans inside a Celery app: `register(app)` is all that a project needs.

It adds the task `plans.step` to the app and a heartbeat and a reconciler to its
workers. No setting of the app is changed; `report_settings(app)` says which of them
work against plans.
"""

from .host_report import SettingFinding, Severity, report_settings
from .registration import register

__all__ = ["SettingFinding", "Severity", "register", "report_settings"]
