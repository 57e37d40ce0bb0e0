"""The least that any program would have to do: each runs by itself, with the same libraries as the components."""
