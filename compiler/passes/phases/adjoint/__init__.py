"""Derivatives: reverse mode over graph ops, regions and scans."""
