"""Example processors, installed and found as any plugin's are."""
