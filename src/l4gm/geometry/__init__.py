"""Cameras, the orbit rig, rotations and rays."""
