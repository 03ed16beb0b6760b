"""Onrecord: the public record of who said what."""
