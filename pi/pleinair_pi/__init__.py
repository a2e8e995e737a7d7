"""What only a Raspberry Pi has (picamera2, heat, service)."""
