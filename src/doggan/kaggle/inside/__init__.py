"""What runs there, inside a kernel."""
