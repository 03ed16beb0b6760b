"""What Onrecord knows without a database, a network or a clock."""
