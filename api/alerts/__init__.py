"""Alerts about budgets, limits and prices: noted on the request's path, delivered by a worker."""
