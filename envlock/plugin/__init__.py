"""What one plugin file says: identity, manifest, dependencies, registrations, signature."""
