"""Uploads and downloads between the browser and a container."""
