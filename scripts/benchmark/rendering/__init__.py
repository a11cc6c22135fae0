"""What `scripts/benchmark/render` is made of: scenes to draw, the plain loop to beat, clocks, tables and the gate."""
