"""The load: profiles, seeded arrival schedules, shoppers and the log of every request."""
