"""Where a bot runs, and how it is brought to zero there and proved gone; used by watchdog and kill executor alike."""
