"""The parts of the documents that are made from the code, and the man page: `make reference`."""
