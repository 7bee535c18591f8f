"""The forms of files that hold tokens: found by their content, read into lines with credentials."""
