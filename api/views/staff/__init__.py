"""JSON endpoints for staff."""
