"""Tests: unit (pure), integration (one part on real servers), acceptance (all of it)."""
