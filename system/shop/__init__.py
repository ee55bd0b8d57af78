"""The reference shop: one folder a service, the same file names in each."""
