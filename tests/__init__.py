"""Tests: unit (pure), integration (parts, on real servers), acceptance (all of it)."""
