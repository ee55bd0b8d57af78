"""orders: owns orders and the checkout saga. Calls products, inventory and payments.

Publishes OrderPlaced, OrderConfirmed, OrderCancelled.
"""
