"""What processes, the machine and its devices are doing: read every few seconds, far from any request."""
