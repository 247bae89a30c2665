"""All commands: the app, with what registers itself from modules of its own."""

from __future__ import annotations

from benchmarks.cli import app_merge, app_report, app_show
from benchmarks.cli.app import app

__all__ = ["app", "app_merge", "app_report", "app_show"]
