"""Which containers FFmpeg may read: those that hold their media themselves.

Playlists (HLS, DASH, concat, SDP ...) name other files and addresses, which FFmpeg opens for
whoever wrote the playlist; text demuxers turn any text into images; devices are no files.
"""

from __future__ import annotations

_CONTAINERS = (
    *("mov,mp4,m4a,3gp,3g2,mj2", "matroska,webm", "avi", "asf", "flv", "live_flv", "kux"),
    *("mpeg", "mpegts", "mpegvideo", "mpegtsraw", "vob", "mxf", "gxf", "nut", "ogg", "nsv"),
    *("rm", "wtv", "dv", "swf", "nuv", "pmp", "dhav", "ivr", "ivf", "frm", "smk", "bink", "flic"),
    *("gif", "apng", "webp", "yuv4mpegpipe", "mjpeg", "mjpeg_2000", "mpjpeg", "smjpeg"),
    *("h264", "hevc", "vvc", "evc", "av1", "obu", "m4v", "h261", "h263", "cavsvideo", "avs2"),
    *("avs3", "dirac", "dnxhd", "vc1", "vc1test", "ingenient", "rawvideo", "apv", "film_cpk"),
    *("jpegxl_anim", "image2pipe"),
    *("wav", "mp3", "aac", "flac", "aiff", "caf"),  # so that sound is called by its name
)
_IMAGES = (
    *("bmp", "dds", "dpx", "exr", "gif", "hdr", "j2k", "jpeg", "jpegls", "jpegxl", "pam", "pbm"),
    *("pcx", "pfm", "pgm", "pgx", "phm", "png", "ppm", "psd", "qoi", "sgi", "sunrast", "tiff"),
    *("webp", "xbm", "xpm", "xwd"),
)

READ_OPTIONS = {
    "format_whitelist": ",".join((*_CONTAINERS, *(f"{name}_pipe" for name in _IMAGES))),
    "protocol_whitelist": "file",
}
"""Options of `av.open` for every file that is read."""
