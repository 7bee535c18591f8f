"""Configuration files of OpenKimi and O1-API."""
