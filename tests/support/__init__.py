"""What tests work with: caches, clusters, servers, processes, clocks and pages."""
