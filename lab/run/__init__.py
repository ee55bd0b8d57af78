"""One run: load, disturb, record, settle, audit, judge, report; everything ends up in one directory."""
