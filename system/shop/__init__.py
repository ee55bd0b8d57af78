"""The reference shop: one folder per service, the same file names in each."""
