"""gateway: the only public entry, with the API of docs/architecture.md. Owns no data.

Calls users, products, orders, payments and notifications. Publishes and consumes nothing.
"""
