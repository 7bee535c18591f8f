"""Views of files: upload, content, parts, documents."""
