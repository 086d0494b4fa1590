"""The HTTP side of `l4gm app`: a page, uploads, progress, results. Everything comes from here.

GET  /                        the page
POST /videos?name=cat.mp4     the body is the video; answers with the job's id
GET  /jobs/ID                 its state, as JSON
POST /jobs/ID/cancel
GET  /jobs/ID/NAME            a file of its result
"""

from __future__ import annotations

import json
import secrets
import shutil
import string
import threading
import time
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from urllib.parse import parse_qs, quote, unquote, urlsplit

from l4gm.cli.app_jobs import Job, Jobs
from l4gm.io.local_server import LocalHandler, LocalServer
from l4gm.io.names import plain_file_name

TOKEN_HEADER = "X-L4GM-Token"

_PAGE = Path(__file__).with_name("app.html")
_MAX_UPLOADS = 2  # at a time
_LEAST_BYTES_PER_SECOND = 50_000  # of an upload, after its first minute
_BLOCK_BYTES = 1 << 20
_KINDS = {
    ".html": "text/html; charset=utf-8",
    ".mp4": "video/mp4",
    ".json": "application/json",
    ".zip": "application/zip",
}
# A result's page runs its scripts, and reaches nothing but itself.
_RESULT_POLICY = "sandbox allow-scripts; frame-ancestors 'self'"


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What visitors may ask for.

    Args:
        upload_bytes: of a video.
        frames: that are used of it.
    """

    upload_bytes: int
    frames: int


class AppServer(LocalServer):
    """The app's server; a context manager.

    Args:
        host, port: where to serve.
        jobs: what videos become.
        uploads: a private folder.
        limits: what visitors may ask for.
    """

    def __init__(self, host: str, port: int, jobs: Jobs, uploads: Path, limits: Limits) -> None:
        super().__init__(host, port, _Handler)
        self.jobs = jobs
        self.limits = limits
        self.uploads = uploads
        self.token = secrets.token_urlsafe(16)  # the page knows it, pages of others do not
        self.upload_slots = threading.BoundedSemaphore(_MAX_UPLOADS)


class _Handler(LocalHandler):
    server: AppServer  # type: ignore[assignment]

    def do_GET(self) -> None:  # noqa: N802
        match _parts(self.path):
            case []:
                self._send_page()
            case ["jobs", job_id] if job := self.server.jobs.find(job_id):
                self._send_json(_state(job))
            case ["jobs", job_id, name] if (job := self.server.jobs.find(job_id)) and (
                path := job.files.get(name)
            ):
                self._send_file(path)
            case _:
                self.send_error(HTTPStatus.NOT_FOUND)

    def do_POST(self) -> None:  # noqa: N802
        if not secrets.compare_digest(self.headers.get(TOKEN_HEADER, "-"), self.server.token):
            self._refuse(HTTPStatus.FORBIDDEN, "The page is of an earlier start; reload it.")
            return
        match _parts(self.path):
            case ["videos"]:
                self._take_video()
            case ["jobs", job_id, "cancel"] if job := self.server.jobs.find(job_id):
                self.server.jobs.cancel(job)
                self._send_json(_state(job))
            case _:
                self.send_error(HTTPStatus.NOT_FOUND)

    def _take_video(self) -> None:
        length = self.headers.get("Content-Length", "")
        limit = self.server.limits.upload_bytes
        if not (length.isascii() and length.isdigit()):
            self._refuse(HTTPStatus.LENGTH_REQUIRED, "The video's size is missing.")
        elif int(length) > limit:
            text = f"The video has {int(length) / 1e6:.0f} MB; at most {limit / 1e6:.0f} are taken."
            self._refuse(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, text)
        elif int(length) * 2 > shutil.disk_usage(self.server.uploads).free:
            self._refuse(HTTPStatus.INSUFFICIENT_STORAGE, "The disk of the server is full.")
        elif not self.server.upload_slots.acquire(blocking=False):
            self._refuse(HTTPStatus.SERVICE_UNAVAILABLE, "Others are uploading; try again soon.")
        else:
            try:
                self._receive(int(length))
            finally:
                self.server.upload_slots.release()

    def _receive(self, length: int) -> None:
        """Store a video and let it wait for its turn."""
        given = parse_qs(urlsplit(self.path).query).get("name", ["video"])[0]
        name = plain_file_name(given)
        folder = self.server.uploads / f"upload-{secrets.token_hex(8)}"
        folder.mkdir(mode=0o700)
        video = folder / name
        try:
            self._store(video, length)
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        job = Job(name=name, video=video)
        if self.server.jobs.add(job):
            self._send_json(_state(job))
        else:
            self._refuse(HTTPStatus.SERVICE_UNAVAILABLE, "Too many videos wait; try again later.")

    def _store(self, path: Path, length: int) -> None:
        began = time.monotonic()
        with path.open("xb") as file:
            while length:
                block = self.rfile.read(min(length, _BLOCK_BYTES))
                seconds = time.monotonic() - began - 60
                if not block or file.tell() < seconds * _LEAST_BYTES_PER_SECOND:
                    raise ConnectionError("the upload was cut off, or too slow")
                file.write(block)
                length -= len(block)

    def _send_page(self) -> None:
        nonce = secrets.token_urlsafe(16)
        page = string.Template(_PAGE.read_text("utf-8")).substitute(
            nonce=nonce,
            token=self.server.token,
            max_bytes=self.server.limits.upload_bytes,
            max_mb=f"{self.server.limits.upload_bytes / 1e6:.0f}",
            max_frames=self.server.limits.frames,
        )
        policy = (
            f"default-src 'none'; script-src 'nonce-{nonce}'; style-src 'nonce-{nonce}'; "
            "connect-src 'self'; frame-src 'self'; img-src data:; base-uri 'none'; "
            "form-action 'none'; frame-ancestors 'none'"
        )
        self.reply(
            page.encode(),
            _KINDS[".html"],
            headers={"Content-Security-Policy": policy},
        )

    def _send_file(self, path: Path) -> None:
        """A file of a result, a block at a time."""
        try:
            file = path.open("rb")
        except OSError:
            self.send_error(HTTPStatus.NOT_FOUND)
            return
        with file:
            self.send_response(HTTPStatus.OK)
            self.send_header("Content-Type", _KINDS.get(path.suffix, "application/octet-stream"))
            self.send_header("Content-Length", str(path.stat().st_size))
            self.send_header("Content-Security-Policy", _RESULT_POLICY)
            if path.suffix != ".html":
                name = quote(path.name)
                self.send_header("Content-Disposition", f"attachment; filename*=UTF-8''{name}")
            self.end_headers()
            shutil.copyfileobj(file, self.wfile, _BLOCK_BYTES)

    def _send_json(self, document: object, status: HTTPStatus = HTTPStatus.OK) -> None:
        self.reply(json.dumps(document).encode(), "application/json", status=status)

    def _refuse(self, status: HTTPStatus, text: str) -> None:
        self._send_json({"error": text}, status)


def _parts(path: str) -> list[str]:
    return [unquote(part) for part in urlsplit(path).path.split("/") if part]


def _state(job: Job) -> dict[str, object]:
    """What the page shows of a job."""
    return {
        "id": job.id,
        "name": job.name,
        "state": job.state.value,
        "stage": job.stage,
        "done": job.done,
        "total": job.total,
        "text": job.text,
        "files": list(job.files),
    }
