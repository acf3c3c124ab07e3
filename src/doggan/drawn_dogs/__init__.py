"""The demonstration's data: drawn photos of dogs, with annotations."""
