"""Tasks of EleutherAI's lm-evaluation-harness: it chooses and judges, and views of the model answer."""
