"""The real servers of the lab: their programs, options and preparation."""
