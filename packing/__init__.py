"""What runs inside the build of an image, and is in none: it makes packages small, and quick to import."""
