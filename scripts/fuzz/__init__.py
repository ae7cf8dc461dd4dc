"""The fuzzer and its targets: `make fuzz`."""
