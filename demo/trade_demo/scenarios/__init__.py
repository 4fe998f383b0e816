"""What can be watched happen: a crash, a rogue order, a leaked key, an edited journal. Each ends with its evidence."""
