"""The schemas of the components' settings, written by `make schemas`; a package only so that they are installed."""
