"""products: owns the catalogue of products, categories and prices.

Calls no service. Publishes and consumes no event. Answers from Valkey as a cache, else from PostgreSQL.
"""
