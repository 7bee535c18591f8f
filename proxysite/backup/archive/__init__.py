"""The file of a backup: compressed and encrypted members, and what it says about itself."""
