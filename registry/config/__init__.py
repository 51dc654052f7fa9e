"""The configuration: one tree of settings from defaults, a file, the environment and flags."""

from __future__ import annotations

from registry.config.loading import ConfigError, Resolved, load, resolve, restored, written
from registry.config.policy import host_guard, load_policy, watch_rules, without_rules
from registry.config.soundness import Sound, check
from registry.config.tree import BOUND, Config

__all__ = [
    "BOUND",
    "Config",
    "ConfigError",
    "Resolved",
    "Sound",
    "check",
    "host_guard",
    "load",
    "load_policy",
    "resolve",
    "restored",
    "watch_rules",
    "without_rules",
    "written",
]
