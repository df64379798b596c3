"""The entry of the tab in Flower's navigation.

Promises: the rest of it stays as Flower's release has it. A Flower whose navigation
looks otherwise is shown without the entry: the pages are there by their address.
"""

import logging

logger = logging.getLogger(__name__)

_LAST_ENTRY = b"reverse_url('broker')"
_END = b"</li>"
_ENTRY = b"""
        <li class="nav-item">
          <a class="nav-link{% if active_tab == 'executions' %} active{% end %}"
            {% if active_tab == 'executions' %}aria-current="page"{% end %}
            href="{{ reverse_url('executions') }}">Executions</a>
        </li>"""


def add_entry(navigation: bytes) -> bytes:
    """Return Flower's template of its navigation with our entry behind its own."""
    last = navigation.find(_LAST_ENTRY)
    end = navigation.find(_END, last)
    if last < 0 or end < 0:
        logger.warning(
            "Flower's navigation is not the one that is known; see /executions"
        )
        return navigation
    end += len(_END)
    return navigation[:end] + _ENTRY + navigation[end:]
