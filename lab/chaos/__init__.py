"""ChaosProcess the running shop: Chaos Toolkit actions, probes and controls, and what an experiment file says."""
