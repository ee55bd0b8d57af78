"""The published language: the events that services exchange."""
