"""Tests of the objects that users hold."""
