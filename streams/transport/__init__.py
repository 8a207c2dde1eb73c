"""How records reach the agents: chunks in columns, the lane, the embedded broker, the topics' administration."""
