"""Pretrained networks that judge pictures and videos: LPIPS, CLIP, I3D, and their weight files."""
