"""Tests: migration."""
