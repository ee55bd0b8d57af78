"""The recorder's sources: log files and their lines, nginx's log, /metrics pages."""
