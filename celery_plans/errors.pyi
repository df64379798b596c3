# For type checkers; what runs is decided in _door.py.

from execution.errors import *
