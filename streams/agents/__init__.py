"""The shell: one verb a file. Agents move bytes; what they decide is decided in the pure modules beside this folder."""
