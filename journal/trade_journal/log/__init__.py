"""What a log is: rows, their tree, checkpoints over it, proofs, and the verification of all of it. Pure."""
