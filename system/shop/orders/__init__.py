"""orders: owns orders and the checkout saga. Calls products, inventory, payments.

Publishes OrderPlaced, OrderConfirmed, OrderCancelled.
"""
