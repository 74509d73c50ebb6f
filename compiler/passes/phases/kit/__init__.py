"""What the phase passes share: building maps and scans."""
