"""The commands, one module each: `register` adds it to the application."""
