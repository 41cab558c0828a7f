"""JSON for programs, under the paths of the owner's documents."""
