"""Stock per SKU and what orders hold of it. Owns stock and reservations; calls and publishes nothing.

initial = on_hand + reserved + shipped, always: every move takes from one place what it gives another.
"""
