"""Names, bytes, jobs: a question gets a key, an answer becomes bytes, a job computes each answer once."""
