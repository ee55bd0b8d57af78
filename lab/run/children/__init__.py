"""The tools that a run starts as child processes: Locust and Chaos Toolkit."""
