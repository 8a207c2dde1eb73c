"""Where records leave us: ClickHouse, and the publisher that services install."""
