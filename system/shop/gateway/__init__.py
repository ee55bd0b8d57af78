"""gateway: owns nothing; the one entry from outside, with the public API of docs/architecture.md.

Calls users, products, orders, payments and notifications. Publishes and consumes nothing.
"""
