"""Two widgets for a notebook: a walk between latents, and a run through its epochs. Thin views over `scenes`.

They need the extra [lab] (ipywidgets and anywidget). What the browser does stands in `static/*.js`, how it looks in
`static/*.css`.
"""
import asyncio
import html
import math
import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from torch import Tensor

from .core import ImageSet, InputError
from .guards import guard, printable
from .latent import RealIndex, nearest_real
from .scenes import EpochScene, LatentScene, LatentState, every_class, free_name, png, save_gif, sheet, shown_classes
from .storage import atomic_write, writing

try:
    import anywidget
    import ipywidgets as w
    import traitlets
except ModuleNotFoundError as e:
    raise ImportError(f'the widgets need {e.name}, which is not installed: pip install "gan-course[lab]"') from None

__all__ = ["LIMITS", "EpochBrowser", "LatentExplorer", "Picture", "Track"]

STATIC = Path(__file__).parent / "static"
LIMITS = [("none", math.inf), *((f"{x:g}", x) for x in (2., 1.5, 1.2, 1., .8, .6, .4))]  # truncations on offer


class Picture(anywidget.AnyWidget):
    "A picture that says where it was clicked: a grid of cells, a pad, a plot with a cursor, or still."
    # echo_update=False: the kernel does not send back what the reader has just set; late echoes would undo the next key
    _esm, _css = STATIC / "picture.js", STATIC / "picture.css"
    value = traitlets.Bytes().tag(sync=True)  # a PNG file; empty: hidden
    kind = traitlets.Enum(["cells", "pad", "plot", "still"], "still").tag(sync=True)
    label = traitlets.Unicode().tag(sync=True)  # for those who do not see it
    width = traitlets.Int(256).tag(sync=True)  # CSS pixels; less where there is no room
    cols = traitlets.Int(1).tag(sync=True)
    rows = traitlets.Int(1).tag(sync=True)
    chosen = traitlets.Int(-1).tag(sync=True, echo_update=False)  # which cell; -1: none
    # x and y in [0,1], from the upper left corner; a plot looks at x only
    place = traitlets.List([0., 0.]).tag(sync=True, echo_update=False)


class Track(anywidget.AnyWidget):
    "A slider with a name, a text for each value, and a play button if `interval` is above 0."
    _esm, _css = STATIC / "track.js", STATIC / "track.css"
    value = traitlets.Int(0).tag(sync=True, echo_update=False)  # position among the texts
    texts = traitlets.List(traitlets.Unicode()).tag(sync=True)  # what the values are called
    label = traitlets.Unicode().tag(sync=True)  # what it moves
    step = traitlets.Int(1).tag(sync=True)  # of the play button
    interval = traitlets.Int(0).tag(sync=True)  # ms from one value to the next while playing; 0: no play button


def _as_html(text) -> str:
    "A text on the page: names and messages hold what a stranger's run brought along."
    return html.escape(printable(str(text)))


def _line(text=""):
    "One line of text for messages; empty it takes no room."
    return w.HTML(_as_html(text), layout=w.Layout(margin="2px 0"))


def _titled(title, *children):
    "A group with a title."
    head = w.HTML(f'<span style="opacity:.8">{_as_html(title)}</span>', layout=w.Layout(margin="0", height="22px"))
    return _column(head, *children, margin="0 16px 8px 0")


def _column(*children, **layout):
    return w.VBox(children, layout=w.Layout(max_width="100%", overflow="visible", **layout))


def _row(*children, align="center"):
    "A row that wraps on a narrow screen."
    return w.HBox(children, layout=w.Layout(flex_flow="row wrap", align_items=align, overflow="visible"))


def _button(text):
    return w.Button(description=text, layout=w.Layout(width="auto"))


class _View(w.VBox):
    "What both widgets share: an `InputError` becomes one line in the cell."
    def __init__(self):
        layout = w.Layout(width="100%", max_width="900px", overflow="visible", padding="4px")
        super().__init__(layout=layout)
        self.error: str|None = None
        self.message = _line()

    def say(self, text: object):
        self.message.value = _as_html(text)

    def guarded(self, action: Callable[[], object]):
        "For observers: whatever a learner can cause ends as a line of text."
        def act(*_):
            try:
                action()
            except (InputError, OSError) as e:
                self.say(e)
        return act

    def refuse(self, error: Exception):
        "Show this line in place of the widget."
        self.error = printable(str(error))
        self.message = _line(self.error)
        self.children = [self.message]


class LatentExplorer(_View):
    "Two rows of candidates, a slider between the chosen ones, and a pad over the plane that they span with a third."
    def __init__(self,
        run_or_generator,  # a run, the path of a run folder, the name of a ready run; or a generator
        # for the nearest real images: (M,C,H,W) uint8; by default what the run was trained on, if at hand
        real: Tensor | ImageSet | None = None,
        folder: str | Path = ".",  # where PNG and GIF are saved
    ):
        super().__init__()
        self.real, self.folder = real, Path(os.path.expanduser(folder))
        self._index: RealIndex|None = None  # of the real images, once they were asked for
        try:
            self.scene = LatentScene(run_or_generator)
        except InputError as e:
            self.refuse(e)
            return
        self.state = LatentState()
        self._controls()
        self._wire()
        self._draw_candidates()

    def _controls(self):
        "Build the controls and lay them out, once."
        n = self.scene.n
        self.rows = [Picture(kind="cells", label=f"{name} of the walk", cols=n, chosen=0, width=n * 44)
                     for name in ("start", "end")]
        self.image = Picture(label="the generated image", width=264)
        self.pad = Picture(kind="pad", label="plane of latents", width=264)
        self.slider = Track(label="t", texts=[f"{i / 100:.2f}" for i in range(101)], step=2, interval=100)
        self.path = w.ToggleButtons(options=["slerp", "lerp"], style={"button_width": "70px"},
                                    tooltips=["along the sphere", "straight"])
        self.limit = Track(label="truncation", texts=[name for name, _ in LIMITS])
        self.label = Track(label="class", texts=[printable(name) for name in self.scene.classes])
        self.table = Picture(kind="cells", label="the first row of candidates as each class; choose one", chosen=0,
                             cols=n, rows=len(shown_classes(self.scene)), width=n * 36)
        self.fresh, self.nearest = _button("New candidates"), _button("Nearest real images")
        self.save_png, self.save_gif = _button("Save PNG"), _button("Save GIF")
        self.found = Picture(label="the four nearest real images", width=264)
        self.children = [
            _row(_titled("From: click one", self.rows[0]), _titled("To: click one", self.rows[1])),
            _row(_titled("The image", self.image), _titled("A plane: drag over it", self.pad)),
            _row(self.slider, self.path),
            _row(self.limit, self.fresh),
            _row(self.nearest, self.save_png, self.save_gif),
            self.message, self.found]
        if self.scene.classes:
            self.children = [self.label, *self.children, _titled("Every class, the same latents", self.table)]

    def _wire(self):
        "Each control changes a part of the state."
        for picture in self.rows: picture.observe(self.guarded(self._choose_ends), "chosen")
        self.pad.observe(self.guarded(lambda: self._move(spot=tuple(self.pad.place))), "place")
        self.slider.observe(self.guarded(lambda: self._move(t=self.slider.value / 100, spot=None)), "value")
        self.path.observe(self.guarded(lambda: self._move(path=self.path.value, spot=None)), "value")
        self.limit.observe(self.guarded(self._draw_candidates), "value")
        self.label.observe(self.guarded(self._draw_candidates), "value")
        self.table.observe(self.guarded(self._choose_class), "chosen")
        self.fresh.on_click(self.guarded(lambda: self._draw_candidates(self.state.seed + 1)))
        self.nearest.on_click(self.guarded(self._find_nearest))
        self.save_png.on_click(self.guarded(self._save_png))
        self.save_gif.on_click(self.guarded(self._save_gif))

    def _move(self, **change):
        "The one way from a control to the picture: a new state, drawn."
        self.state = replace(self.state, **change)
        self.image.value = self.scene.render(self.state)
        if self.found.value: self.found.value, self.message.value = b"", ""  # they belonged to another image

    def _choose_ends(self):
        self._move(start=self.rows[0].chosen, end=self.rows[1].chosen, spot=None)
        self.pad.value = self.scene.pad(self.state)

    def _draw_candidates(self, seed=None):
        limit = LIMITS[self.limit.value][1]
        self.state = replace(self.state, limit=limit, seed=self.state.seed if seed is None else seed,
                             label=self.label.value)
        if self.scene.classes: self.table.value = every_class(self.scene, self.state)
        for i, picture in enumerate(self.rows): picture.value = self.scene.row(self.state, i)
        self._choose_ends()

    def _choose_class(self):
        row, column = divmod(self.table.chosen, self.scene.n)
        self.rows[0].chosen, self.label.value = column, shown_classes(self.scene)[row]

    def _find_nearest(self):
        self.say("looking …")
        if self._index is None: self._index = RealIndex(self._real_images())
        found = nearest_real(self.scene.image(self.state)[None], self._index, k=4)
        self.found.value = sheet(found.images(self._index.real), 4)
        self.say(f"the nearest of {len(self._index.real):,} real images, by features of the small network; "
                 f"distance {found.distance[0, 0]:.2f} (a copy has 0)")

    def _real_images(self):
        if self.real is not None: return self.real.images if isinstance(self.real, ImageSet) else self.real
        if self.scene.run is None:
            raise InputError("a bare generator does not say what it was trained on: "
                             "LatentExplorer(G, real=images) takes the real images")
        return self.scene.run.images("train", limit=2000, progress=False, download=False).images

    def _save_png(self):
        path = free_name(self.folder, "latent", ".png")
        with writing(path), atomic_write(path) as part: part.write_bytes(png(self.scene.image(self.state), 8))
        self.say(f"saved {path}")

    def _save_gif(self):
        path = free_name(self.folder, "walk", ".gif")
        save_gif(self.scene.film(self.state), path)
        self.say(f"saved {path}")


class EpochBrowser(_View):
    "Slider and play over a run's recorded epochs: images of the same latents, curves, the film strip of one latent."
    def __init__(self,
        run,  # a run, the path of a run folder, or the name of a ready run
        other_run=None,  # a second one, on the same slider
        every: float = 2.,  # seconds between two looks at a run that is followed
    ):
        super().__init__()
        self.every, self.latent = every, 0
        self._quiet = False  # while it is set, what moves a control is no move of the reader
        self.grids: Sequence[Picture]
        self.plots: Sequence[Picture]
        self.strips: Sequence[Picture]
        try:
            self.scene = EpochScene(run, other_run)
            self._controls()
        except InputError as e:
            self.refuse(e)
            return
        self._wire()
        for draw in (self._show, self._draw_strips): self.guarded(draw)()  # one spoiled epoch does not hide the others

    @property
    def epoch(self) -> int:
        "The recorded epoch at which the slider stands."
        return self.scene.epochs[self.slider.value]

    def go(self, epoch: int):
        "Show a recorded epoch."
        if epoch not in self.scene.epochs:
            raise InputError(f"epoch {epoch} is not recorded: there are {', '.join(map(str, self.scene.epochs))}")
        if not self._quiet: self.slider.value = self.scene.epochs.index(epoch)

    def refresh(self, always_say: bool = True):
        "Look for new epochs; who was at the last one stays at the last one, who stands elsewhere is left alone."
        epoch, was_last = self.epoch, self.epoch == self.scene.epochs[-1]
        is_new = self.scene.refresh()
        if is_new:
            epochs = self.scene.epochs
            self._quiet = True
            with self.slider.hold_sync():  # text and value travel together
                self.slider.texts = [str(e) for e in epochs]
                self.slider.value = len(epochs) - 1 if was_last or epoch not in epochs else epochs.index(epoch)
            self._quiet = False
            self._show()
            self._draw_strips()
        if is_new or always_say: self.say(f"recorded up to epoch {self.scene.epochs[-1]}")

    def _controls(self):
        "Build the controls and lay them out, once."
        epochs = self.scene.epochs
        self.slider = Track(label="epoch", texts=[str(e) for e in epochs], value=len(epochs) - 1, interval=400)
        classes = next((run.classes for run in self.scene.runs if run.classes), [])
        self.label = Track(label="class", texts=["all", *map(printable, classes)])
        self.look = _button("Look for new epochs")
        self.follow = w.Checkbox(description="follow a run that is training", indent=False,
                                 layout=w.Layout(width="auto", margin="0 0 0 12px"))
        views = [self._view_of(i) for i in range(len(self.scene.runs))]
        self.heads, self.grids, self.plots, self.strips = zip(*views, strict=True)
        self.children = [self.slider, *([self.label] if classes else []), _row(self.look, self.follow), self.message]
        for head, grid, plot, strip in views:
            right = _column(plot, _titled("This latent through the epochs; click one", strip))
            self.children += (head, _row(_column(grid, margin="0 16px 8px 0"), right, align="flex-start"))

    def _view_of(self, i):
        "What stands there for run i: a headline and three pictures."
        run, images = self.scene.runs[i], self.scene.recordings[i].images(self.scene.epochs[-1])
        name, cols = printable(run.path.name), run.info["samples"]["cols"]
        grid = Picture(kind="cells", label=f"images of {name}: choose a latent", chosen=0, width=280,
                       cols=cols, rows=math.ceil(len(images) / cols))
        plot = Picture(kind="plot", label=f"curves of {name}: choose an epoch", width=560)
        strip = Picture(kind="cells", label=f"one latent of {name} through the epochs", width=560)
        return _line(), grid, plot, strip

    def _wire(self):
        self.slider.observe(self.guarded(self._show), "value")
        self.label.observe(self.guarded(self._choose_class), "value")
        self.look.on_click(self.guarded(self.refresh))
        self.follow.observe(self._start_following, "value")
        for i in range(len(self.scene.runs)): self._wire_pictures(i)

    def _wire_pictures(self, i):
        grid, plot, strip = self.grids[i], self.plots[i], self.strips[i]
        grid.observe(self.guarded(lambda: self._choose(self._shown(i)[grid.chosen])), "chosen")
        plot.observe(self.guarded(lambda: self.go(self.scene.epoch_at(i, plot.place[0]))), "place")
        strip.observe(self.guarded(lambda: self.go(self.scene.strip_epochs[strip.chosen])), "chosen")

    def _show(self):
        "Draw the epoch of the slider."
        if self._quiet: return
        epoch, frames = self.epoch, self.scene.strip_epochs
        for i, run in enumerate(self.scene.runs):
            self.grids[i].value = self.scene.grid(i, epoch, self.chosen_class)
            self.plots[i].value = self.scene.curves(i, epoch)
            shown, name = self.scene.shown(i, epoch), _as_html(run.path.name)
            self.heads[i].value = f"<b>{name}</b>, epoch {shown} of {run.config.epochs}"
        near = min(range(len(frames)), key=lambda k: abs(frames[k] - epoch))
        self._quiet = True  # marking the frame is no click on it
        for strip in self.strips: strip.chosen = near
        self._quiet = False

    @property
    def chosen_class(self) -> int|None:
        "The class whose latents are shown; None: all."
        return self.label.value - 1 if self.label.value else None

    def _shown(self, i) -> list[int]:
        "The latents of run i that its grid shows."
        return self.scene.recordings[i].members(self.chosen_class).tolist()

    def _choose_class(self):
        "Show the latents of one class, and one of them through the epochs."
        for i, grid in enumerate(self.grids):
            grid.rows = max(1, math.ceil(len(self._shown(i)) / grid.cols))
        self._show()
        members = self._shown(0)
        self._choose(self.latent if self.latent in members else members[0])

    def _choose(self, latent):
        self.latent = min(latent, *(run.info["samples"]["n"] - 1 for run in self.scene.runs))
        for i, grid in enumerate(self.grids):
            cells = self._shown(i)
            grid.chosen = cells.index(self.latent) if self.latent in cells else 0
        self._draw_strips()

    def _draw_strips(self):
        for i, strip in enumerate(self.strips):
            strip.cols, strip.value = len(self.scene.strip_epochs), self.scene.strip(i, self.latent)

    def _start_following(self, change):
        if not change.new: return
        try:
            self._task = asyncio.get_running_loop().create_task(self._watch())
        except RuntimeError:
            self.say("following needs a running kernel: use the button beside it")

    async def _watch(self):
        while self.follow.value and self.comm is not None:
            self.guarded(lambda: self.refresh(always_say=False))()
            if all(r.epochs[-1] >= r.run.config.epochs for r in self.scene.recordings):
                self.follow.value = False
            await asyncio.sleep(self.every)


guard(__name__, {"every": "0.001..1e6", "epoch": "0..1e9"})
