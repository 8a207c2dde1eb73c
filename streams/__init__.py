"""From topics to topics. Start at `topology.py`."""
