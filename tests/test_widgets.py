"""Guards of scenes, widgets and pieces of HTML, without a browser: what is drawn and moves, bad input, what pages keep.

What needs a browser is in test_browser.py.
"""
import asyncio
import base64
import contextlib
import io
import json
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace

import matplotlib.pyplot as plt
import nbformat
import pytest
import torch
from PIL import Image

from conftest import ROOT
from gan_course import gradcam, latent
from gan_course._docs import stored_html
from gan_course.core import InputError, image_grid, seeded
from gan_course.dcgan import build_model
from gan_course.embed import _curves_svg, epoch_browser_html, frames_html, latent_walk_html
from gan_course.runs import open_run
from gan_course.scenes import EpochScene, LatentScene, LatentState, png, save_gif
from gan_course.session import draw_latents
from gan_course.settings import TrainConfig
from gan_course.steps import generate
from gan_course.toybirds import toy_birds
from gan_course.training import train
from gan_course.widgets import EpochBrowser, LatentExplorer


def pixels(data):
    image = Image.open(io.BytesIO(data)).convert("RGB")
    levels = torch.frombuffer(bytearray(image.tobytes()), dtype=torch.uint8)
    return levels.view(image.height, image.width, 3).permute(2, 0, 1)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A run of three epochs with 6 latents."""
    config = TrainConfig(limit=64, base_channels=4, batch_size=32, epochs=3, samples=6, precision="float32")
    return train(config, tmp_path_factory.mktemp("runs") / "short", progress=False).path


@pytest.fixture
def G(): return build_model("dcgan", 3, base_channels=4)[0].eval()


@pytest.fixture
def copy(folder, tmp_path): return Path(shutil.copytree(folder, tmp_path / "copy"))


# --- the latent explorer

def test_every_control_gives_what_render_gives(G):
    e, scene = LatentExplorer(G), LatentScene(G)
    expected = LatentState()
    moves = (
        (lambda: setattr(e.rows[0], "chosen", 3), dict(start=3)),
        (lambda: setattr(e.rows[1], "chosen", 5), dict(end=5)),
        (lambda: setattr(e.slider, "value", 30), dict(t=.3)),
        (lambda: setattr(e.path, "value", "lerp"), dict(path="lerp")),
        (lambda: setattr(e.pad, "place", [.2, .9]), dict(spot=(.2, .9))),
        (lambda: setattr(e.slider, "value", 31), dict(t=.31, spot=None)),
        (lambda: setattr(e.limit, "value", 5), dict(limit=.8)),
        (lambda: e.fresh.click(), dict(seed=1)),
    )
    for move, change in moves:
        move()
        expected = replace(expected, **change)
        assert e.state == expected and e.image.value == scene.render(expected)
        assert e.pad.value == scene.pad(expected)
        assert [p.value for p in e.rows] == [scene.row(expected, 0), scene.row(expected, 1)]


def test_the_picture_is_the_generators_own_pixels(G):
    scene, state = LatentScene(G), LatentState(start=2, end=7, t=1.)
    rows, corner = scene.candidates(state)
    assert torch.equal(pixels(scene.render(state)), generate(G, rows[1, 7][None])[0])  # at t = 1 it is the end
    assert torch.equal(pixels(scene.row(state, 0)), image_grid(generate(G, rows[0]), 8, 1))
    assert torch.equal(scene.latent(replace(state, spot=(0., 1.))), scene.latent(replace(state, spot=(0., 1.), t=.3)))
    assert torch.allclose(scene.latent(replace(state, spot=(0., 1.))), corner, atol=1e-5)
    film = scene.film(state, 4)
    assert torch.equal(film[0], generate(G, rows[0, 2][None])[0]) and torch.equal(film[-1], scene.image(state))


def test_a_move_changes_bytes_and_nothing_else(G):
    e = LatentExplorer(G)
    children, image, figures = e.children, e.image, plt.get_fignums()
    sent = []
    e.image.observe(lambda change: sent.append(change.new), "value")
    for v in range(1, 30): e.slider.value = v
    assert e.children == children and e.image is image and plt.get_fignums() == figures and len(sent) <= 29
    n = len(sent)
    e.pad.place = [.5, .5]
    assert len(sent) == n + 1  # one drag, one picture


def test_png_and_gif_are_saved_beside_what_is_there(G, tmp_path):
    e = LatentExplorer(G, folder=tmp_path)
    e.rows[1].chosen = 4
    for _ in range(2): e.save_gif.click()
    e.save_png.click()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["latent-1.png", "walk-1.gif", "walk-2.gif"]
    assert "latent-1.png" in e.message.value
    film = Image.open(tmp_path / "walk-1.gif")
    assert film.size == (256, 256) and film.info["loop"] == 0 and film.n_frames > 1
    assert torch.equal(pixels((tmp_path / "latent-1.png").read_bytes())[:, ::8, ::8], e.scene.image(e.state))
    e.folder = tmp_path / "nowhere"
    e.save_png.click()
    assert "No such file" in e.message.value


def test_nearest_real_images_on_demand(G):
    real = toy_birds(40, 3).images
    e = LatentExplorer(G, real=real)
    assert not e.found.value
    e.nearest.click()
    assert pixels(e.found.value).shape == (3, 34, 4 * 33 + 1) and "40 real images" in e.message.value
    e.slider.value = 60
    assert not e.found.value and not e.message.value  # they belonged to another image
    bare = LatentExplorer(G)
    bare.nearest.click()
    assert "real=images" in bare.message.value


def test_the_data_of_the_run_are_taken_if_at_hand(folder, copy, monkeypatch, tmp_path):
    monkeypatch.setenv("GAN_COURSE_DATA", str(tmp_path / "empty"))
    e = LatentExplorer(folder)
    e.nearest.click()
    assert "64 real images" in e.message.value  # those that the run saw
    config = json.loads((copy / "config.json").read_text())
    config["train"]["data"] = str(tmp_path / "gone")
    (copy / "config.json").write_text(json.dumps(config))
    e = LatentExplorer(copy)
    e.nearest.click()
    assert "gone" in e.message.value and not e.found.value


def test_grey_images_are_drawn():
    G = build_model("dcgan", img_channels=1, base_channels=4)[0]
    e = LatentExplorer(G)
    assert Image.open(io.BytesIO(e.image.value)).mode == "L"
    assert "image/jpeg" in latent_walk_html(G, n=1, points=2, steps=1)


def test_a_candidate_depends_on_the_seed_and_its_number_alone(G):
    few, many = LatentScene(G, 5), LatentScene(G, 11)
    (rows, corner), (others, _) = few.candidates(LatentState(seed=3)), many.candidates(LatentState(seed=3))
    assert torch.equal(torch.cat([*rows, corner[None]]), others[0])  # 11 latents, however they are laid out


def test_generators_of_others_take_their_latents_as_they_want_them():
    class Theirs(torch.nn.Sequential):
        latent_dim = 20
    G = Theirs(torch.nn.ConvTranspose2d(20, 3, 16), torch.nn.Tanh())  # z is (B,20,1,1)
    assert LatentExplorer(G).error is None and "image/jpeg" in latent_walk_html(G, n=1, points=2, steps=1)
    assert "[0,1]" in LatentExplorer(Theirs(torch.nn.ConvTranspose2d(20, 3, 16), torch.nn.Sigmoid())).error


# --- what earlier cells of a session left behind

@contextlib.contextmanager
def default(get, put, value):
    before = get()
    put(value)
    try: yield
    finally: put(before)


STATES = {
    "float64": lambda: default(torch.get_default_dtype, torch.set_default_dtype, torch.float64),
    "meta": lambda: torch.device("meta"),
    "no_grad": torch.no_grad,
    "inference": torch.inference_mode,
    "autocast": lambda: torch.autocast("cpu", torch.bfloat16),
}


def state_now():
    return (torch.get_default_dtype(), torch.get_default_device(), torch.is_grad_enabled(),
            torch.is_inference_mode_enabled(), torch.is_autocast_enabled("cpu"))


def all_drawn(folder, G, D, birds):
    """What is made of latents, runs and networks, as bits."""
    z, maps = draw_latents(3, 100, 5), gradcam.cams(D, birds.images, "features.4", "real")
    share = gradcam.heat_share(maps.gradcam, birds.boxes)
    explorer, browser = LatentExplorer(G), EpochBrowser(folder)
    explorer.pad.place = [.3, .6]
    browser.go(1)
    return [maps.gradcam, maps.plusplus, maps.score, share.ratio, share.mean()["low"],
            latent.walk(z, 7), latent.latent_grid(*z, 3, 3), latent.truncate(z, .7), latent.lerp(z[0], z[1], .3),
            latent.nearest_real(birds.images[:2], birds.images, 2).distance,
            explorer.image.value, explorer.pad.value, explorer.rows[1].value, browser.grids[0].value,
            browser.plots[0].value, browser.strips[0].value, latent_walk_html(G, n=2), epoch_browser_html(folder)]


@pytest.fixture(scope="module")
def drawn_from(folder): return folder, *build_model("dcgan", 3, base_channels=4), toy_birds(6, 3)


@pytest.fixture(scope="module")
def in_a_fresh_session(drawn_from): return all_drawn(*drawn_from)


@pytest.mark.parametrize("state", STATES)
def test_what_earlier_cells_left_changes_no_picture(state, drawn_from, in_a_fresh_session):
    with STATES[state]():
        before = state_now()
        found = all_drawn(*drawn_from)
        assert state_now() == before
    for i, (one, other) in enumerate(zip(found, in_a_fresh_session, strict=True)):
        assert torch.equal(one, other) if isinstance(one, torch.Tensor) else one == other, i


# --- the epoch browser

def test_slider_click_and_curves_give_what_render_gives(folder):
    b, scene = EpochBrowser(folder), EpochScene(folder)
    assert b.slider.texts == ["0", "1", "2", "3"] and b.epoch == 3
    for epoch in (1, 0, 3):
        b.go(epoch)
        assert b.grids[0].value == scene.grid(0, epoch) and b.plots[0].value == scene.curves(0, epoch)
        assert f"epoch {epoch} of 3" in b.heads[0].value and b.strips[0].chosen == epoch
    b.grids[0].chosen = 4
    assert b.strips[0].value == scene.strip(0, 4)
    assert torch.equal(pixels(scene.strip(0, 4))[:, 1:33, 34:66], scene.runs[0].samples(1)[4])
    b.strips[0].chosen = 2
    assert b.epoch == 2
    b.plots[0].place = [.0, .5]
    assert b.epoch == 1  # the left edge of the curves: the first epoch with losses


def test_the_cursor_stands_at_its_epoch(folder):
    scene = EpochScene(folder)
    places = []
    for epoch in (1, 2, 3):
        picture = pixels(scene.curves(0, epoch))
        places.append(((picture == 30).all(0).sum(0) > 100).nonzero().flatten())
    width = picture.shape[2]
    assert len(places[0]) == len(places[2]) == 4  # two panels, two pixels each
    assert places[0][0] < places[1][0] < places[2][0]
    assert [scene.epoch_at(0, (p[0].item() + 1) / width) for p in places] == [1, 2, 3]
    assert [scene.epoch_at(0, (p[2].item() + 1) / width) for p in places] == [1, 2, 3]


def test_two_runs_share_one_slider(folder, copy):
    for e in (1, 2): (copy / f"samples/epoch-000{e}.png").unlink()
    scene = EpochScene(folder, copy)
    assert scene.epochs == [0, 1, 2, 3] and [scene.shown(1, e) for e in scene.epochs] == [0, 0, 0, 3]
    b = EpochBrowser(folder, copy)
    b.go(2)
    assert "epoch 2 of" in b.heads[0].value and "epoch 0 of" in b.heads[1].value
    b.grids[1].chosen = 3
    assert b.grids[0].chosen == 3 and b.strips[0].value == scene.strip(0, 3)


def test_a_growing_run_is_followed(folder, copy):
    last = (copy / "samples/epoch-0003.png").read_bytes()
    (copy / "samples/epoch-0003.png").unlink()
    b = EpochBrowser(copy, every=.01)
    assert b.slider.texts == ["0", "1", "2"]
    b.look.click()
    assert "up to epoch 2" in b.message.value

    async def train_on():
        b.follow.value = True
        await asyncio.sleep(.05)
        assert b.follow.value
        (copy / "samples/epoch-0003.png").write_bytes(last)
        for _ in range(200):
            await asyncio.sleep(.01)
            if not b.follow.value: break
    asyncio.run(train_on())
    assert b.slider.texts == ["0", "1", "2", "3"] and b.epoch == 3  # who was at the end stays there
    assert b.grids[0].value == EpochScene(folder).grid(0, 3) and not b.follow.value  # the run is complete


def test_a_reader_in_the_middle_is_not_moved(copy):
    last = (copy / "samples/epoch-0003.png").read_bytes()
    (copy / "samples/epoch-0003.png").unlink()
    b = EpochBrowser(copy)
    b.go(1)
    (copy / "samples/epoch-0003.png").write_bytes(last)
    b.look.click()
    assert b.epoch == 1 and b.slider.texts == ["0", "1", "2", "3"]


def test_curves_are_drawn_anew_when_the_history_has_grown(folder, copy):
    history = (copy / "history.csv").read_text()
    (copy / "history.csv").write_text("".join(history.splitlines(keepends=True)[:-1]))
    scene, complete = EpochScene(folder, copy), EpochScene(folder)
    assert scene.curves(1, 2) != complete.curves(0, 2) and not scene.refresh()
    (copy / "history.csv").write_text(history)
    assert scene.refresh() and not scene.refresh()
    assert scene.curves(1, 2) == complete.curves(0, 2)


def test_long_runs_keep_a_short_strip_and_the_slider_stays_where_it_is(copy):
    for e in range(4, 41): shutil.copyfile(copy / "samples/epoch-0003.png", copy / f"samples/epoch-{e:04d}.png")
    b = EpochBrowser(copy)
    assert len(b.scene.strip_epochs) == 14 and b.scene.strip_epochs[-1] == 40
    for e in (17, 18, 19, 20):
        b.go(e)
        assert b.epoch == e  # marking the nearest frame of the strip is no click on it


def test_before_the_first_epoch_there_are_images_and_no_curves(copy):
    for e in (1, 2, 3): (copy / f"samples/epoch-000{e}.png").unlink()
    (copy / "history.csv").unlink()
    b = EpochBrowser(copy)
    assert b.error is None and b.plots[0].value == b"" and b.grids[0].value
    assert "gan-cursor\"" not in epoch_browser_html(copy)


# --- bad input

def test_bad_input_is_one_line(folder, copy, tmp_path):
    (tmp_path / "empty").mkdir()
    no_samples = Path(shutil.copytree(folder, tmp_path / "no-samples"))
    for p in (no_samples / "samples").iterdir(): p.unlink()
    config = json.loads((copy / "config.json").read_text())
    (copy / "config.json").write_text(json.dumps(config | {"model": config["model"] | {"base_channels": 8}}))
    views = (
        (LatentExplorer(tmp_path / "gone"), "no folder"), (EpochBrowser(tmp_path / "gone"), "no folder"),
        (EpochBrowser(tmp_path / "empty"), "no run folder"), (EpochBrowser(no_samples), "no samples"),
        (EpochBrowser(folder, no_samples), "no samples"), (LatentExplorer(copy), "the training was told"),
        (LatentExplorer(None), "has to be Run"), (LatentExplorer(torch.nn.Linear(2, 2)), "latent_dim"),
    )
    for view, word in views:
        assert word in view.error and "\n" not in view.error
        assert len(view.children) == 1 and word in view.children[0].value
    with pytest.raises(InputError, match="no samples"): epoch_browser_html(no_samples)
    with pytest.raises(InputError, match="no folder"): latent_walk_html(tmp_path / "gone")
    with pytest.raises(InputError, match="points has to be at least 2"): latent_walk_html(folder, points=1)


def test_hostile_arguments_are_refused(folder, G, tmp_path):
    images, scene, epochs = toy_birds(2, 0).images, LatentScene(G), EpochScene(folder)
    for wrong, message in (
        (lambda: png(images[0, :2]), "2 channels"), (lambda: png(images[0], 10_000), "too many"),
        (lambda: save_gif(images, tmp_path), "is a folder"),
        (lambda: save_gif(images, tmp_path / "a.gif", ms=0), "ms has to be"),
        (lambda: LatentScene(G, 10**6), "at most 64"), (lambda: LatentState(t=2.), "at most 1"),
        (lambda: scene.image(LatentState(start=8)), "there are 8 a row"),
        (lambda: scene.film(LatentState(path="x")), "slerp"),
        (lambda: epochs.strip(0, 6), "no latent 6"), (lambda: epochs.grid(1, 0), "no run 1"),
        (lambda: epochs.curves(0, 10**12), "at most"), (lambda: EpochBrowser(folder).go(9), "not recorded"),
        (lambda: frames_html([], [], "x"), "0 frames"), (lambda: frames_html(list(images), ["a"], "x"), "1 captions"),
        (lambda: frames_html(list(images), ["a", "b"], "x", first=2), "no frame 2"),
        (lambda: frames_html([images[0], images[1, :, 1:]], ["a", "b"], "x"), "give one size"),
        (lambda: latent_walk_html(G, 1000, 1000, 1000), "10,000"),
        (lambda: epoch_browser_html(folder, 0), "at least 1"),
    ):
        with pytest.raises(InputError, match=message) as found: wrong()
        assert "\n" not in str(found.value)
    assert not list(tmp_path.iterdir())


HOSTILE = "<img src=x>\x1b[31m\u202e\u0007run"


def test_names_reach_the_page_as_text_without_control_sequences(folder, tmp_path):
    hostile = Path(shutil.copytree(folder, tmp_path / HOSTILE))
    b = EpochBrowser(hostile)
    texts = [b.heads[0].value, b.grids[0].label, b.plots[0].label, b.strips[0].label]
    texts += [LatentExplorer(tmp_path / f"{HOSTILE}-gone").message.value, EpochBrowser(tmp_path / f"{HOSTILE}x").error]
    b.say(HOSTILE)
    texts += [b.message.value, frames_html([toy_birds(1, 0).images[0]], [HOSTILE], HOSTILE)]
    for text in texts:
        assert "run" in text and "[31m" in text and all(c.isprintable() or c == "\n" for c in text)
        assert "\\u001b" not in text  # JSON of a caption would bring it back
    assert all("<img src=x" not in text for text in (texts[0], *texts[4:5], *texts[6:]))


def test_losses_below_zero_stay_in_their_panel():
    rows = [dict.fromkeys(["fid", "d_loss_fake", "g_loss", "d_acc_real", "d_acc_real_test", "d_acc_fake"])
            | dict(epoch=e, d_loss_real=-float(e)) for e in (1, 3, 5)]
    svg, panels = _curves_svg(rows, 5, 5)
    heights = [float(y) for y in re.findall(r",([-\d.]+)", re.search(r'points="([^"]*)"', svg)[1])]
    assert panels == 1 and heights == [40., 72., 104.] and ">-5<" in svg


WITHOUT_LAB = "import sys; sys.modules.update(ipywidgets=None, anywidget=None, traitlets=None); "


def test_pieces_need_no_extra(folder):
    code = f"from gan_course.embed import epoch_browser_html; print(len(epoch_browser_html({str(folder)!r})))"
    command = [sys.executable, "-c", WITHOUT_LAB + code]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0 and int(done.stdout) == len(epoch_browser_html(folder)), done.stderr


def test_widgets_name_their_extra():
    command = [sys.executable, "-c", WITHOUT_LAB + "from gan_course import LatentExplorer"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
    last = done.stderr.strip().splitlines()[-1]
    assert done.returncode == 1 and last.startswith("ImportError") and 'pip install "gan-course[lab]"' in last
    assert "During handling" not in done.stderr  # one error, not two


def test_spoiled_samples_are_named(copy):
    (copy / "samples/epoch-0002.png").write_bytes(b"no picture")
    b = EpochBrowser(copy)
    assert b.error is None and "epoch-0002.png" in b.message.value and b.grids[0].value  # the other epochs are there
    shutil.copyfile(copy / "samples/epoch-0001.png", copy / "samples/epoch-0002.png")
    b.go(2)
    assert b.grids[0].value == b.scene.grid(0, 1)


# --- pieces of HTML

class Reader(HTMLParser):
    """Tags with their attributes, and whether they are balanced."""
    def __init__(self, text):
        super().__init__()
        self.tags, self.open = [], []
        self.feed(text)
        assert not self.open

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in ("img", "input", "line", "path", "polyline"): self.open.append(tag)

    def handle_startendtag(self, tag, attrs): self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag): assert self.open.pop() == tag


def test_pieces_hold_all_frames_and_ask_nobody(folder):
    piece = epoch_browser_html(folder)
    tags = Reader(piece).tags
    root, images = tags[0][1], [a for t, a in tags if t == "img"]
    frames = json.loads(root["data-frames"])
    assert len(images) == 1 and frames[-1] is None and len(frames) == len(json.loads(root["data-captions"])) == 4
    frames[-1] = images[0]["src"]
    run = open_run(folder)
    for e, uri in enumerate(frames):
        got = pixels(base64.b64decode(uri.removeprefix("data:image/jpeg;base64,"))).float()
        assert (got - image_grid(run.samples(e), 6, 1)).abs().mean() < 6
    text = re.sub(r"base64,[\w+/=]+", "", piece)
    assert not re.search(r"https?:|//[a-z]|url\(|\bid=|fetch|import", text)  # no server, no id to clash
    assert not any(a.get("src", "data:").startswith("http") for _, a in tags)
    slider = next(a for t, a in tags if t == "input")
    assert slider["value"] == "3" and slider["aria-label"] == "epoch"
    cursors = [float(a["x1"]) for t, a in tags if a.get("class") == "gan-cursor"]
    moved_to = json.loads(root["data-cursors"])
    assert len(cursors) == 2 and moved_to[-1] == cursors  # two panels; they stand where the first frame is
    assert moved_to[0] < moved_to[1] < moved_to[2] < moved_to[3]


def test_captions_are_escaped_and_the_size_is_kept():
    frames = [torch.randint(0, 256, (3, 100, 200), dtype=torch.uint8, generator=seeded(i)) for i in range(4)]
    text = ['"</div><script>alert(1)</script>', "b", "c", "d"]
    piece = frames_html(frames, text, 'a "label"')
    tags = Reader(piece).tags
    assert [t for t, _ in tags].count("script") == 1 and json.loads(tags[0][1]["data-captions"]) == text
    assert len(frames_html(frames, text, 'a "label"', most=len(piece) - 1)) < len(piece)
    with pytest.raises(InputError, match="do not fit"): frames_html(frames, text, "x", most=10_000)


def test_long_runs_fit_into_a_piece(copy):
    noise = torch.randint(0, 256, (64, 3, 32, 32), dtype=torch.uint8, generator=seeded(0))  # the worst to compress
    config = json.loads((copy / "config.json").read_text())
    config["samples"] |= dict(n=64, cols=8)
    config["train"]["samples"] = 64
    (copy / "config.json").write_text(json.dumps(config))
    for e in range(60): (copy / f"samples/epoch-{e:04d}.png").write_bytes(png(image_grid(noise, 8)))
    assert len(epoch_browser_html(copy, n=64)) < 1_500_000


# --- lessons and pages

WIDGET = r"^(?:explorer|browser|widget|w\.[HV]Box\(.*\)|(?:Latent|Epoch|Cam)\w*\(.*\))$"


def test_beside_a_widget_stands_a_picture():
    for path in sorted((ROOT / "nbs").glob("*.ipynb")):
        cells = [c for c in nbformat.read(path, 4).cells if c.cell_type == "code"]
        shown = [bool({"text/html", "image/png"} & {k for o in c.outputs for k in o.get("data", {})}) for c in cells]
        for i, c in enumerate(cells):
            last_line = c.source.strip().split("\n")[-1]
            if re.search(WIDGET, last_line) and "#|" not in c.source:
                assert any(shown[i:i + 3]), f"{path.name}: nothing is seen where {c.source!r} stands"


def test_pages_keep_html_and_drop_widgets():
    state = {"application/vnd.jupyter.widget-view+json": {}, "text/plain": "W()"}
    view = {"output_type": "display_data", "data": state}
    html = ["<b>`x`</b>\n", "```\n<script>1</script>"]
    piece = {"output_type": "execute_result", "data": {"text/html": html, "text/plain": "<HTML>"}}
    text = {"output_type": "stream", "text": "hello"}

    class Cell(SimpleNamespace):
        def get(self, k, d=None): return getattr(self, k, d)

        def __setitem__(self, k, v): setattr(self, k, v)
    cell = Cell(cell_type="code", outputs=[view, piece, text])
    stored_html(cell)
    assert cell.outputs == [piece, text] and "text/html" not in piece["data"]
    assert piece["data"]["text/markdown"] == "````{=html}\n<b>`x`</b>\n```\n<script>1</script>\n````\n"
    stored_html(Cell(cell_type="markdown"))
