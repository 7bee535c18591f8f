"""The pages of API keys beside their list and form: issued, rotate, revoke, change many."""
