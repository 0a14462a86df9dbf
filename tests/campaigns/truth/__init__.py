"""What really happened when published plugins were loaded, compared with what envlock predicts."""
