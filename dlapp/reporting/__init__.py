"""What a person looks at: plots, and a report in one file that opens without a network."""
