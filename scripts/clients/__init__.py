"""The clients of the cookbook themselves: `make test-clients`, and the vectors that they made."""
