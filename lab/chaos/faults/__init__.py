"""Faults in a running lab: commanded, held in processes and on edges, cleared, audited."""
