"""Tool calls written as text, for models that have no tool calling."""
