"""Providers speak to companies that move money: one sans-IO file each, and one engine that does the IO."""
