"""Rules of the repository: what is generated is up to date, lessons keep their form, README tells the truth, the wheel works."""
import ast
import filecmp
import os
import re
import shutil
import subprocess
import sys
import venv
from pathlib import Path

import nbformat
import pytest

ROOT = Path(__file__).resolve().parents[1]
BIN = Path(sys.executable).parent
HAND_WRITTEN = {"__init__", "__main__", "cli", "_docs", "_modidx"}  # _modidx is written by nbdev's export, from all lessons
NOTEBOOKS = sorted(ROOT.glob("nbs/**/*.ipynb"))
LESSONS = {p: nbformat.read(p, 4) for p in NOTEBOOKS if ".ipynb_checkpoints" not in p.parts}


def code_cells():
    return [(f"{p.name}[{i}]", c) for p, nb in LESSONS.items() for i, c in enumerate(nb.cells) if c.cell_type == "code"]


def exported():
    """Module name → its notebook, in the order of the lessons."""
    found = {}
    for p, nb in LESSONS.items():
        for cell in nb.cells:
            if m := re.match(r"#\|\s*default_exp\s+(\w+)", cell.source): found[m[1]] = p
    return found


def run(*command, cwd, **env):
    done = subprocess.run([str(c) for c in command], cwd=cwd, capture_output=True, text=True, env={**os.environ, **env}, timeout=600)
    assert done.returncode == 0, f"{command} failed:\n{done.stdout[-3000:]}{done.stderr[-3000:]}"
    return done.stdout


@pytest.fixture(scope="module")
def copy(tmp_path_factory):
    """The files of the repository in another place, so that no test changes the working tree."""
    place = tmp_path_factory.mktemp("clone") / "gan_course"
    files = run("git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", cwd=ROOT).split("\0")
    for name in filter(None, files):
        if (ROOT / name).is_file():
            (place / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, place / name)
    run("git", "init", "-q", cwd=place)
    return place


def test_clean_and_export_leave_no_diff(copy):
    run(BIN / "nbdev_clean", cwd=copy)
    run(BIN / "nbdev_export", cwd=copy)
    made = [p.relative_to(ROOT) for p in [*LESSONS, *(ROOT / "gan_course").glob("*.py")]]
    changed = [str(p) for p in made if not filecmp.cmp(ROOT / p, copy / p, shallow=False)]
    assert not changed, f"run nbdev_clean and nbdev_export, then commit: {changed}"
    assert {p.name for p in (copy / "gan_course").glob("*.py")} == {p.name for p in (ROOT / "gan_course").glob("*.py")}


def test_modules_are_the_lessons_and_the_hand_written():
    assert {p.stem for p in (ROOT / "gan_course").glob("*.py")} == set(exported()) | HAND_WRITTEN


def test_lessons_import_only_earlier_lessons():
    order = list(exported())
    for i, module in enumerate(order):
        for node in ast.walk(ast.parse((ROOT / f"gan_course/{module}.py").read_text(encoding="utf-8"))):
            names = []
            if isinstance(node, ast.ImportFrom): names = [node.module] if node.level == 0 else [f"gan_course.{node.module}"]
            if isinstance(node, ast.Import): names = [a.name for a in node.names]
            used = {n.split(".")[1] for n in names if n and n.startswith("gan_course.")}
            assert used <= set(order[:i]), f"{module} imports {used - set(order[:i])}, which is not an earlier lesson"


def test_no_star_imports():
    sources = [(name, c.source) for name, c in code_cells()]
    sources += [(p.name, p.read_text(encoding="utf-8")) for folder in ("gan_course", "tests", "bench", ".ci") for p in (ROOT / folder).glob("*.py")]
    assert not [name for name, source in sources if re.search(r"^\s*from\s+\S+\s+import\s+\*", source, re.M)]


def test_cells_are_short():
    long = {name: n for name, c in code_cells() if (n := sum(bool(line.strip()) for line in c.source.splitlines())) > 45}
    assert not long


def test_imports_stand_in_cells_of_their_own():
    """nbdev's page builder executes every cell that holds an import."""
    for name, cell in code_cells():
        kinds = {isinstance(node, (ast.Import, ast.ImportFrom)) for node in ast.parse(cell.source).body}
        assert len(kinds) < 2, f"{name}: imports beside other code"


def test_notebooks_hold_no_junk():
    for path, nb in LESSONS.items(): assert "widgets" not in nb.metadata, f"{path.name} stores widget state"
    for name, cell in code_cells():
        assert not re.search(r"^\s*(!|%pip|%conda)", cell.source, re.M), f"{name}: shell or pip magic"
        assert not any(o.output_type == "error" for o in cell.outputs), f"{name}: a stored error"
        shown = "\n".join(o.get("text", "") + str(o.get("data", {}).get("text/plain", "")) for o in cell.outputs)
        assert not re.search(r"(?<![\w.~])/(root|home|tmp|work|Users)/", f"{cell.source}\n{shown}"), f"{name}: an absolute path"
        assert "widget-view" not in str(cell.outputs), f"{name}: a stored widget view"


def test_each_lesson_shows_a_picture_within_five_cells():
    for path, nb in LESSONS.items():
        first = [c for c in nb.cells if c.cell_type == "code" and not re.match(r"#\|\s*default_exp", c.source)][:5]
        assert any("image/png" in o.get("data", {}) for c in first for o in c.outputs), f"{path.name}: no picture in its first five code cells"


def test_readme_tells_the_truth():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    makefile, settings = (ROOT / "Makefile").read_text(), (ROOT / "pyproject.toml").read_text()
    for target in re.findall(r"^make (\w+)", readme, re.M): assert re.search(rf"^{target}:", makefile, re.M), f"make {target}"
    for extras in re.findall(r"\[([a-z,]+)\]\"", readme):
        for extra in extras.split(","): assert re.search(rf"^{extra} = ", settings, re.M), f"extra [{extra}]"
    for _, target in re.findall(r"\[([^\]]*)\]\(([^)]+)\)", readme):
        if not target.startswith(("http", "#")): assert (ROOT / target.partition("#")[0]).exists(), f"README links to {target}"
    commands = re.findall(r"^gan-course (\w+)(.*)", readme, re.M)
    assert commands
    for name, rest in commands:
        help_text = run(BIN / "gan-course", name, "--help", cwd=ROOT, COLUMNS="200")
        for option in re.findall(r"--[a-z0-9-]+", rest): assert option in help_text, f"gan-course {name} {option}"


def test_every_page_is_made(copy):
    run(sys.executable, "-c", "from nbdev.serve import proc_nbs; proc_nbs('.')", cwd=copy)
    chapters = re.findall(r"^\s*- (\S+\.(?:ipynb|qmd))$", (ROOT / "_quarto.yml").read_text(), re.M)
    assert {ROOT / c for c in chapters if c.endswith(".ipynb")} == set(LESSONS), "_quarto.yml lists every lesson"
    missing = [c for c in chapters if not (copy / "_proc" / c).exists()]
    assert not missing
    pages = {f"/nbs/{p.stem.partition('_')[2]}.html" for p in LESSONS}  # nbdev drops the lesson's number
    leads = {}  # relative links lead somewhere
    for chapter in chapters:
        page = copy / "_proc" / chapter
        cells = nbformat.read(page, 4).cells if page.suffix == ".ipynb" else []
        text = "\n".join(c.source for c in cells if c.cell_type == "markdown") or page.read_text(encoding="utf-8")
        for target in re.findall(r"\]\((?!https?:|#|data:|attachment:)([^)\s\"\\]+)\)", text):
            place = page.parent / target.partition("#")[0]
            leads[f"{chapter} → {target}"] = place.exists() or target.partition("#")[0] in pages
    assert not [link for link, known in leads.items() if not known]


def test_wheel_works_without_the_clone(copy, tmp_path):
    run(sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", tmp_path, cwd=copy)
    venv.create(tmp_path / "env", with_pip=False)
    bin = tmp_path / "env" / ("Scripts" if os.name == "nt" else "bin")
    site = Path(run(bin / "python", "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", cwd=tmp_path).strip())
    ours = run(sys.executable, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", cwd=tmp_path).strip()
    (site / "dependencies.pth").write_text(ours)  # a path given so does not bring the editable install's own .pth with it
    wheel = next(tmp_path.glob("*.whl"))
    run(sys.executable, "-m", "pip", "--python", bin / "python", "install", "--quiet", "--no-deps", "--no-index", wheel, cwd=tmp_path)
    where = run(bin / "python", "-c", "import gan_course.train, gan_course; print(gan_course.__file__)", cwd=tmp_path)
    assert str(site) in where
    assert "train" in run(bin / "gan-course", "--help", cwd=tmp_path)
    run(bin / "gan-course", "sample", "toy-birds-dcgan", "--n", 4, "--out", "birds.png", cwd=tmp_path)
    assert (tmp_path / "birds.png").exists()
