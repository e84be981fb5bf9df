"""Chat completions: assembling a body from chunks, and making chunks of a body."""
