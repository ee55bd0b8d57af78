"""The lab's own TCP fault proxy: one listener per edge, spoken to as Toxiproxy is."""
