"""The Bybit V5 wire as the gateway speaks it: signing, envelope, client. Small enough to be read in one sitting."""
