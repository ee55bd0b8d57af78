"""The real servers under the lab: which binaries, with which options, prepared how."""
