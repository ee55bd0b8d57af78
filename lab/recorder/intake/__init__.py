"""What the recorder takes in: spans, log lines, nginx's log, metrics pages."""
