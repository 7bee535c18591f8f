"""The steps that every request to a model takes between its view and its strategy."""
