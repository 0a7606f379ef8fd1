"""Speed of glassbert beside its peers: `python -m bench`."""
