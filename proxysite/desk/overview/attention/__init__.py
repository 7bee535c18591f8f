"""The matters that need a person's attention: grouped, each with the button that mends it."""
