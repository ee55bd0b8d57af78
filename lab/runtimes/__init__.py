"""Ways to run the shop: each runtime knows the same seven verbs (up down status logs kill scale address)."""
