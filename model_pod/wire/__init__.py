"""What travels between processes: pure types and codecs, and the only part of the pod that the gateway imports."""
