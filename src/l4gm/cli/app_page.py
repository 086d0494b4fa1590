"""The page of `l4gm app`, by Gradio, and the job behind its button."""

from __future__ import annotations

import html
import logging
import tempfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from l4gm.cli.reconstruct import Options as ReconstructOptions
from l4gm.cli.reconstruction import Engine, reconstruct_into
from l4gm.errors import InputError

if TYPE_CHECKING:
    from l4gm.cli.app import Options

logger = logging.getLogger(__name__)

_TITLE = "l4gm: a video in, an animated 3D object out"
_ABOUT = """# A video in, an animated 3D object out
Drop a short video of **one moving object**, filmed by a still camera, on a background of one colour
or a transparent one. Then turn the object while it plays, and take the files along.
"""
_IDLE = '<p style="text-align: center; color: #6b7280">The object will appear here.</p>'


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What a video became.

    Args:
        player: HTML that shows the page that plays it.
        files: page, turning video, lossless sequence, and all frames as PLY in a zip.
        summary: one line.
    """

    player: str
    files: list[str]
    summary: str


def reconstruct_video(
    video: Path,
    folder: Path,
    options: Options,
    progress: Callable[[str, int, int], None],
) -> Outcome:
    """Reconstruct one video as `l4gm reconstruct` does.

    Args:
        video: any video.
        folder: results go into a new folder inside it, named after the video.
        options: of the app.
        progress: called with (stage, done, total).

    Raises:
        InputError: a video that cannot be used.
    """
    out = _free_name(folder, f"{video.stem[:80]}_4d")
    job_options = ReconstructOptions(
        videos=(video,),
        out=out,
        model=options.model,
        max_frames=options.max_frames,
        device=options.device,
        ply=True,
    )
    summary = reconstruct_into(out, video, Engine(job_options), progress)
    _zip_frames(out)
    page = (out / "index.html").read_text(encoding="utf-8")
    names = ("index.html", "orbit.mp4", "sequence.safetensors", "frames_ply.zip", "report.json")
    return Outcome(
        player=embedded(page), files=[str(out / name) for name in names], summary=summary
    )


def embedded(page: str) -> str:
    """A page as a frame inside another, where its scripts reach nothing but itself."""
    return (
        '<iframe sandbox="allow-scripts" allow="fullscreen" title="The animated object" '
        'style="width: 100%; height: 640px; border: 0; border-radius: 10px" '
        f'srcdoc="{html.escape(page)}"></iframe>'
    )


def _free_name(folder: Path, name: str) -> Path:
    """A path in the folder that nothing has yet: name, name_2, name_3 ..."""
    path, number = folder / name, 1
    while path.exists():
        number += 1
        path = folder / f"{name}_{number}"
    return path


def _zip_frames(folder: Path) -> None:
    """frames_ply.zip: the frames, as stored."""
    with zipfile.ZipFile(folder / "frames_ply.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted((folder / "ply").glob("frame_*.ply")):
            archive.write(path, path.name)


def build(options: Options, folder: Path) -> Any:
    """The Gradio page; results go into `folder`."""
    import gradio

    def on_click(
        video: str | None,
        progress: gradio.Progress = gradio.Progress(),  # noqa: B008  (how Gradio finds it)
    ) -> tuple[str, list[str], str]:
        if not video:
            raise gradio.Error("Choose a video first.")

        def report(stage: str, done: int, total: int) -> None:
            progress((done, total) if total else None, desc=stage)

        try:
            outcome = reconstruct_video(Path(video), folder, options, report)
        except InputError as error:
            # The name is the visitor's, and Gradio takes messages for HTML.
            raise gradio.Error(html.escape(str(error))) from error
        return outcome.player, outcome.files, outcome.summary

    with gradio.Blocks(title=_TITLE) as page:
        gradio.Markdown(_ABOUT)
        with gradio.Row():
            with gradio.Column(scale=1):
                video = gradio.File(
                    label="Video", file_types=["video", ".gif", ".webp"], type="filepath"
                )
                button = gradio.Button("Reconstruct", variant="primary")
                summary = gradio.Textbox(label="Result", interactive=False)
                files = gradio.Files(label="Files", interactive=False)
            with gradio.Column(scale=2):
                player = gradio.HTML(_IDLE)
        button.click(
            on_click,
            inputs=video,
            outputs=[player, files, summary],
            api_name="reconstruct",
            concurrency_limit=1,
        )
    return page


def serve(options: Options) -> None:
    """Serve the page until interrupted, and print its address."""
    with tempfile.TemporaryDirectory(prefix="l4gm-app-") as temporary:
        folder = Path(temporary) if options.folder is None else options.folder.absolute()
        folder.mkdir(parents=True, exist_ok=True)
        page = build(options, folder)
        _, address, _ = page.queue().launch(
            server_name=options.host,
            server_port=options.port or None,
            inbrowser=options.browser,
            allowed_paths=[str(folder)],
            share=False,
            quiet=True,
            prevent_thread_lock=True,
        )
        print(f"open {address} (Ctrl-C ends)", flush=True)
        try:
            page.block_thread()
        except KeyboardInterrupt:
            pass
        finally:
            page.close(verbose=False)
