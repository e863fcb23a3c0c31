"""The widgets in a real JupyterLab and the pieces of HTML in a plain file: clicked, dragged and typed at in Chromium.

Without Chromium or Playwright these tests are skipped, with the reason; with CI=true that is a failure.
"""
import base64
import io
import os
import shutil
import socket
import subprocess
import time
import urllib.request
from dataclasses import replace

import pytest
import torch
from PIL import Image

from conftest import BIN, ROOT
from gan_course.core import image_grid
from gan_course.embed import epoch_browser_html, latent_walk_html
from gan_course.runs import ready_run
from gan_course.scenes import EpochScene, LatentScene, LatentState

try:
    from playwright.sync_api import sync_playwright
except ImportError:
    sync_playwright = None

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
CHROMIUM = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, BROWSERS)), None)
FLAGS = ("--no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
         "--disable-component-update --disable-sync").split()
if sync_playwright is None:
    MISSING = "Playwright is not installed: pip install -e '.[dev]'"
elif CHROMIUM is None:
    MISSING = "no Chromium found: install it (Debian: apt-get install chromium), or name it in the variable CHROMIUM"
else:
    MISSING = ""
pytestmark = pytest.mark.browser
WAIT = 120_000  # ms at most, for anything


@pytest.fixture(scope="module")
def browser():
    if MISSING:
        if os.environ.get("CI") == "true": pytest.fail(MISSING)
        pytest.skip(f"browser tests: {MISSING}")
    with sync_playwright() as p:
        browser = p.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


def answers(address):
    """Whether the server is there, within two minutes."""
    for _ in range(600):
        try:
            urllib.request.urlopen(address, timeout=5)
            return True
        except OSError:
            time.sleep(.2)
    return False


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    """The address of a JupyterLab of its own, in a folder with a copy of the lessons."""
    place = tmp_path_factory.mktemp("lab")
    shutil.copy2(ROOT / "nbs/12_widgets.ipynb", place)
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    homes = dict(JUPYTER_CONFIG_DIR="config", JUPYTER_DATA_DIR="data", JUPYTER_RUNTIME_DIR="runtime",
                 IPYTHONDIR="ipython", MPLCONFIGDIR="mpl", npm_config_cache="npm")
    quiet = '{"fetchNews": "false", "checkForUpdates": false}'
    whole = '{"windowingMode": "none"}'  # older versions attach a cell only when it is scrolled into view
    for name, content in (("apputils-extension/notification", quiet), ("notebook-extension/tracker", whole)):
        settings = place / f".home/config/lab/user-settings/@jupyterlab/{name}.jupyterlab-settings"
        settings.parent.mkdir(parents=True)
        settings.write_text(content)
    env = {**os.environ, **{k: str(place / ".home" / v) for k, v in homes.items()}, "OMP_NUM_THREADS": "1"}
    command = [str(BIN / "jupyter-lab"), "--no-browser", "--allow-root", f"--port={port}", "--ip=127.0.0.1",
               f"--ServerApp.root_dir={place}", "--IdentityProvider.token=", "--ServerApp.password="]
    with open(place / "log.txt", "w") as log:
        server = subprocess.Popen(command, cwd=place, env=env, stdout=log, stderr=log)
    address = f"http://127.0.0.1:{port}"
    try:
        if not answers(f"{address}/api"):
            pytest.fail(f"JupyterLab did not start:\n{(place / 'log.txt').read_text()[-2000:]}")
        yield address
    finally:
        server.terminate()
        server.wait(20)


EVERY_CELL_HAS_RUN = """
() => ![...document.querySelectorAll('.jp-InputArea-prompt')].some(e => e.textContent.includes('*'))
"""


@pytest.fixture(scope="module")
def lesson(browser, lab):
    """The lesson on widgets after Run All; whatever went wrong is in `page.wrong`."""
    page = browser.new_page(viewport=dict(width=1400, height=1000))
    page.set_default_timeout(WAIT)
    page.wrong = []
    page.on("pageerror", lambda e: page.wrong.append(str(e)))
    page.on("console", lambda m: page.wrong.append(m.text) if m.type == "error" else None)
    page.goto(f"{lab}/lab/tree/12_widgets.ipynb")
    page.locator("#jp-main-statusbar").get_by_text("Idle").wait_for()
    page.get_by_role("menuitem", name="Run", exact=True).click()
    page.locator("#jp-mainmenu-run").get_by_text("Run All Cells", exact=True).click()
    cell(page, "browser = EpochBrowser(run)").locator(".gan-picture img").first.wait_for(state="attached")
    page.wait_for_function(EVERY_CELL_HAS_RUN)
    page.locator("#jp-main-statusbar").get_by_text("Idle").wait_for()
    yield page
    page.close()


def cell(page, source): return page.locator(".jp-CodeCell", has_text=source).first


def shown(picture):
    """The pixels of a `Picture`, as the browser has them."""
    data = picture.locator("img").evaluate("""async img => {
        const bytes = new Uint8Array(await (await fetch(img.src)).arrayBuffer());
        return btoa(bytes.reduce((text, x) => text + String.fromCharCode(x), ''));
    }""")
    return decode(base64.b64decode(data))


def decode(data):
    image = Image.open(io.BytesIO(data)).convert("RGB")
    return torch.frombuffer(bytearray(image.tobytes()), dtype=torch.uint8).view(image.height, image.width, 3).int()


def becomes(picture, data):
    """Wait until the picture is what `render` gives (another thread count may round one level otherwise)."""
    expected, until = decode(data), time.time() + 30
    while True:
        got = shown(picture)
        if got.shape == expected.shape and (got - expected).abs().max() <= 1: return
        assert time.time() < until, f"the picture did not become what render gives: {got.shape}, {expected.shape}"
        time.sleep(.1)


def click(picture, x, y):
    box = picture.bounding_box()
    picture.click(position=dict(x=x * box["width"], y=y * box["height"]))


def drag(page, picture, *places):
    box = picture.bounding_box()
    for i, (x, y) in enumerate(places):
        page.mouse.move(box["x"] + x * box["width"], box["y"] + y * box["height"])
        if not i: page.mouse.down()
    page.mouse.up()


SCRIPTS = sorted((ROOT / "gan_course/static").glob("*.js"))


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_scripts_are_well_formed(browser, script):
    """A module of a widget is imported, a script of a piece is only read; what is wrong with it is in the message."""
    page = browser.new_page()
    text = script.read_text(encoding="utf-8")
    if "export default" in text:
        kinds = page.evaluate("""async text => {
            const module = await import(URL.createObjectURL(new Blob([text], {type: "text/javascript"})));
            return typeof module.default.render;
        }""", text)
        assert kinds == "function"
    else:
        page.evaluate("text => { new Function(text) }", text)
    page.close()


def test_a_widget_of_five_lines(lesson):
    out, scene = cell(lesson, "slider, view = w.IntSlider"), LatentScene("toy-birds-dcgan")
    state = LatentState(start=1, end=4, t=.5)
    handle = out.get_by_role("slider")
    handle.scroll_into_view_if_needed()
    handle.focus()
    lesson.keyboard.press("ArrowRight")
    becomes(out.locator(".widget-vbox"), scene.render(replace(state, t=.51)))


def test_latent_explorer(lesson):
    out, scene = cell(lesson, "explorer = LatentExplorer(run)"), LatentScene("toy-birds-dcgan")
    state = LatentState(start=1, end=4, t=.5)
    names = ("start of the walk", "end of the walk", "plane of latents")
    start, end, pad = (out.get_by_role("slider", name=name) for name in names)
    start.scroll_into_view_if_needed()
    image = out.locator(".gan-still").first
    for row, i in ((start, 6), (end, 2)): click(row, (i + .5) / 8, .5)
    state = replace(state, start=6, end=2)
    becomes(image, scene.render(state))
    start.focus()
    lesson.keyboard.press("ArrowLeft")  # keys choose too
    state = replace(state, start=5)
    becomes(image, scene.render(state))
    becomes(pad, scene.pad(state))
    assert start.get_attribute("aria-valuetext") == "6 of 8"

    pad.scroll_into_view_if_needed()
    drag(lesson, pad, (.1, .1), (.3, .4), (.75, .25))
    assert pad.get_attribute("aria-valuetext") == "x 0.75, y 0.25"
    becomes(image, scene.render(replace(state, spot=(.75, .25))))
    lesson.keyboard.press("ArrowDown")
    becomes(image, scene.render(replace(state, spot=(.75, .29))))


def test_latent_explorer_plays_and_slides(lesson):
    out, scene = cell(lesson, "explorer = LatentExplorer(run)"), LatentScene("toy-birds-dcgan")
    image, readout = out.locator(".gan-still").first, out.locator("output").first
    handle = out.get_by_role("slider", name="t", exact=True)
    handle.scroll_into_view_if_needed()
    state = LatentState(start=5, end=2)
    handle.focus()
    lesson.keyboard.press("Home")
    becomes(image, scene.render(state))
    for _ in range(3): lesson.keyboard.press("ArrowRight")
    assert readout.inner_text() == handle.get_attribute("aria-valuetext") == "0.03"
    becomes(image, scene.render(replace(state, t=.03)))
    drag(lesson, handle, (.03, .5), (.5, .5), (.8, .5))
    t = float(readout.inner_text())
    assert .7 <= t <= .9
    becomes(image, scene.render(replace(state, t=t)))
    out.get_by_role("button", name="lerp", exact=True).click()
    becomes(image, scene.render(replace(state, t=t, path="lerp")))
    handle.focus()
    lesson.keyboard.press("Home")
    play = out.locator(".gan-track button").first
    play.click()
    lesson.wait_for_function("e => +e.textContent >= .1", arg=readout.element_handle())
    play.click()  # pause
    time.sleep(.5)
    t = float(readout.inner_text())
    becomes(image, scene.render(replace(state, t=t, path="lerp")))
    time.sleep(.5)
    assert float(readout.inner_text()) == t
    out.get_by_role("button", name="Nearest real images").click()
    out.get_by_text("2,000 real images").wait_for()


def test_epoch_browser(lesson):
    out, scene = cell(lesson, "browser = EpochBrowser(run)"), EpochScene("toy-birds-dcgan")
    grid, plot = (out.get_by_role("slider", name=name) for name in ("choose a latent", "choose an epoch"))
    strip = out.get_by_role("slider", name="through the epochs")
    grid.scroll_into_view_if_needed()
    click(grid, 2.5 / 8, 1.5 / 8)
    becomes(strip, scene.strip(0, 10))
    grid.focus()
    lesson.keyboard.press("ArrowDown")
    becomes(strip, scene.strip(0, 18))
    handle = out.get_by_role("slider", name="epoch", exact=True)
    handle.focus()
    lesson.keyboard.press("Home")
    becomes(grid, scene.grid(0, 0))
    for _ in range(2): lesson.keyboard.press("ArrowRight")
    becomes(grid, scene.grid(0, 2))
    becomes(plot, scene.curves(0, 2))
    drag(lesson, plot, (.1, .5), (.2, .5), (.3, .5))
    epoch = scene.epoch_at(0, .3)
    assert epoch not in (0, 2)  # the drag leads elsewhere
    becomes(grid, scene.grid(0, epoch))
    becomes(plot, scene.curves(0, epoch))
    click(strip, .5 / len(scene.epochs), .5)
    becomes(grid, scene.grid(0, 0))
    play = out.get_by_role("button", name="Play epoch")
    play.click()
    becomes(grid, scene.grid(0, 2))
    out.get_by_role("button", name="Pause epoch").click()
    out.get_by_role("button", name="Look for new epochs").click()
    out.get_by_text("recorded up to epoch 40").wait_for()


def test_a_piece_lives_in_the_lesson(lesson):
    out = cell(lesson, "piece = epoch_browser_html(run, n=16)")
    slider, said, img = out.get_by_role("slider", name="epoch"), out.locator("output"), out.locator("img")
    slider.scroll_into_view_if_needed()
    out.get_by_text("epoch 40", exact=True).wait_for()
    slider.focus()
    lesson.keyboard.press("ArrowLeft")
    assert said.inner_text() == img.get_attribute("alt") == "epoch 32"  # and the notebook did not take the key


def test_nothing_went_wrong(lesson):
    assert lesson.locator(".jp-RenderedText[data-mime-type='application/vnd.jupyter.stderr']").count() == 0
    assert lesson.locator(".jp-mod-error, [data-mime-type='application/vnd.jupyter.error']").count() == 0
    assert not lesson.wrong


@pytest.fixture
def piece(browser, tmp_path):
    """Both pieces in one plain file, without any network."""
    walk = latent_walk_html("toy-birds-dcgan", n=3, points=2, steps=3)
    epochs = epoch_browser_html("toy-birds-dcgan")
    page = f"<!DOCTYPE html><meta charset='utf-8'><title>p</title>{walk}{epochs}{epochs}"
    (tmp_path / "piece.html").write_text(page, encoding="utf-8")
    context = browser.new_context(offline=True, viewport=dict(width=700, height=900))
    page = context.new_page()
    page.wrong = []
    page.on("pageerror", lambda e: page.wrong.append(str(e)))
    page.on("console", lambda m: page.wrong.append(m.text) if m.type == "error" else None)
    page.on("request", lambda r: page.wrong.append(r.url) if not r.url.startswith(("file:", "data:")) else None)
    page.goto((tmp_path / "piece.html").as_uri())
    yield page
    assert not page.wrong
    context.close()


def test_pieces_in_a_plain_file_by_mouse_and_keys(piece):
    walk, first, second = (piece.locator(".gan-frames").nth(i) for i in range(3))
    run = ready_run("toy-birds-dcgan")
    slider, said, img = first.get_by_role("slider"), first.locator("output"), first.locator("img")
    assert said.inner_text() == "epoch 40"
    drag(piece, slider, (.95, .5), (.5, .5), (.01, .5))
    assert said.inner_text() == "epoch 0" and slider.get_attribute("aria-valuetext") == "epoch 0"
    piece.keyboard.press("ArrowRight")
    piece.keyboard.press("ArrowRight")
    assert said.inner_text() == f"epoch {run.epochs[2]}"
    piece.keyboard.press("End")
    assert said.inner_text() == "epoch 40"
    got = decode(base64.b64decode(img.get_attribute("src").split(",")[1])).float()
    assert (got - image_grid(run.samples(40)[:32], 8, 1).permute(1, 2, 0)).abs().mean() < 6
    x = first.locator(".gan-cursor").first.get_attribute("x1")
    piece.keyboard.press("Home")
    assert float(first.locator(".gan-cursor").first.get_attribute("x1")) < float(x)
    assert second.locator("output").inner_text() == "epoch 40"  # the other piece is on its own
    assert walk.locator("output").inner_text() == "latent 1 of 2"


def test_pieces_play_and_pause(piece):
    walk = piece.locator(".gan-frames").first
    said, button = walk.locator("output"), walk.get_by_role("button")
    button.click()
    assert button.inner_text() == "Pause"
    piece.wait_for_function("e => e.textContent.startsWith('latent 2')", arg=said.element_handle())
    button.click()
    text = said.inner_text()
    piece.wait_for_timeout(400)
    assert said.inner_text() == text and button.inner_text() == "Play"
    walk.locator("img").click()  # gives the keys to this piece
    piece.keyboard.press(" ")
    piece.wait_for_function("([e, t]) => e.textContent != t", arg=[said.element_handle(), text])
    piece.keyboard.press("ArrowLeft")  # a key takes over
    assert button.inner_text() == "Play"
