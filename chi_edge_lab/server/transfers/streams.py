"""Bodies of uploads and downloads."""
