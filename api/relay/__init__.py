"""What every request to a model goes through between view and strategy."""
