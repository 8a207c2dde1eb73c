"""Numbered migrations, applied in order by `driftline migrate`."""
