"""Networks, the training loop, and sampling from what it trained."""
