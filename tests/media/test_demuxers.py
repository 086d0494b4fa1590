"""Playlists and the like open no other files; containers that hold their media still open."""

from __future__ import annotations

from pathlib import Path

import av
import pytest
import torch

from l4gm.errors import InputError
from l4gm.media.demuxers import READ_OPTIONS
from l4gm.media.video import probe_video, read_frames, write_video

PLAYLISTS = {
    "list.m3u8": "#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:1.0,\n{}\n#EXT-X-ENDLIST\n",
    "list.mp4": "#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:1.0,\n{}\n#EXT-X-ENDLIST\n",
    "list.ffconcat": "ffconcat version 1.0\nfile {}\n",
    "concat.avi": "ffconcat version 1.0\nfile {}\n",
    "list.mpd": '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static">'
    '<Period><AdaptationSet><Representation id="0" mimeType="video/mp4">'
    "<BaseURL>{}</BaseURL></Representation></AdaptationSet></Period></MPD>",
    "list.sdp": "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\n"
    "m=video 5004 RTP/AVP 96\na=rtpmap:96 H264/90000\n",
}


@pytest.mark.parametrize("name", PLAYLISTS)
def test_other_files_are_not_opened(tmp_path: Path, name: str) -> None:
    secret = tmp_path / "secret.mp4"
    write_video(secret, [torch.zeros(32, 32, 3, dtype=torch.uint8)] * 4, 12.0)
    path = tmp_path / name
    path.write_text(PLAYLISTS[name].format("secret.mp4"))
    for read in (probe_video, lambda path: next(read_frames(path))):
        with pytest.raises(InputError, match=name):
            read(path)


@pytest.mark.parametrize(
    ("suffix", "codec"),
    [
        *((suffix, "mpeg4") for suffix in ("mp4", "mov", "mkv", "avi", "ts", "3gp")),
        *((suffix, "mjpeg") for suffix in ("mov", "avi", "mkv", "nut")),
        *(("flv", "flv"), ("mpg", "mpeg1video"), ("wmv", "wmv2"), ("ogv", "theora")),
        *(("webm", "libvpx"), ("gif", "gif"), ("y4m", "rawvideo"), ("ivf", "libvpx")),
    ],
)
def test_real_containers_are(tmp_path: Path, suffix: str, codec: str) -> None:
    path = tmp_path / f"a.{suffix}"
    try:
        with av.open(str(path), "w") as container:
            stream = container.add_stream(codec, rate=25)
            stream.width = stream.height = 64
            stream.pix_fmt = {"mjpeg": "yuvj420p", "gif": "rgb8"}.get(codec, "yuv420p")
            for level in range(0, 250, 10):
                frame = av.VideoFrame.from_ndarray(
                    torch.full((64, 64, 3), level, dtype=torch.uint8).numpy()
                )
                container.mux(stream.encode(frame))
            container.mux(stream.encode(None))
    except (av.error.FFmpegError, ValueError) as error:
        pytest.skip(f"this FFmpeg does not write {codec} in {suffix}: {error}")
    with av.open(str(path), options=dict(READ_OPTIONS)) as container:
        assert container.streams.best("video") is not None
