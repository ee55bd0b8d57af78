"""Offered load: profiles, seeded arrival schedules, shoppers' sessions and the log of every request."""
