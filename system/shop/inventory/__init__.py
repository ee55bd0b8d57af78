"""inventory: owns stock per SKU and the reservations of orders. Calls no service, publishes no event.

initial = on_hand + reserved + shipped holds always: every move adds to one count what it takes from another.
"""
