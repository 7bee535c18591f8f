"""What needs a person's attention: grouped, with the button that mends it."""
