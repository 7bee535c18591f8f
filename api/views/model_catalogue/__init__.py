"""Views of the list of models."""
