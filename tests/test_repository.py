"""Rules of the repository: what is made is up to date, code and lessons keep their form, README tells the truth."""
import ast
import filecmp
import inspect
import os
import re
import shutil
import subprocess
import sys
import venv
from pathlib import Path

import nbformat
import pytest

import gan_course
from conftest import BIN, ROOT
from gan_course.exercises import all_exercises

PACKAGE = ROOT / "gan_course"
BY_HAND = set(("__init__ __main__ _docs _modidx core diagnosis embed export guards locks networks probing processes "
               "runfiles session storage widgets").split()) | {
    f"studies.{name}" for name in "__init__ attention common distortions heat run_birds run_cifar10 run_rules".split()}
BY_HAND |= {f"cli.{name}" for name in ("__init__ _diagnose _doctor _doctor_gan _exercises _look _measure _runs "
                                       "_surroundings _train").split()}
BY_HAND |= {f"exercises.{p.stem}" for p in PACKAGE.glob("exercises/*.py")}
# a module may import only those that stand before it; the studies, the command and the top of the package come last
ORDER = ("guards core session storage locks processes losses toy toybirds imagefiles data dcgan networks steps "
         "settings runfiles runs diagnosis training features fid sources evaluation sagan labels probing gradcam "
         "latent scenes embed widgets export").split()
NOTEBOOKS = sorted(ROOT.glob("nbs/*.ipynb"))
LESSONS = {p: nbformat.read(p, 4) for p in NOTEBOOKS}
ENGINE_ROOM = {p for p in NOTEBOOKS if p.name.startswith("3")}


def code_cells():
    return [(f"{p.name}[{i}]", c) for p, nb in LESSONS.items() for i, c in enumerate(nb.cells) if c.cell_type == "code"]


def modules():
    """Name within the package → file."""
    return {".".join(p.relative_to(PACKAGE).with_suffix("").parts): p for p in sorted(PACKAGE.rglob("*.py"))}


def exported():
    """Module name → its notebook."""
    found = {}
    for p, nb in LESSONS.items():
        for cell in nb.cells:
            if m := re.match(r"#\|\s*default_exp\s+([\w.]+)", cell.source): found[m[1]] = p
    return found


def imported(name, file):
    """The modules of the package that a module imports, anywhere in it."""
    used, above = set(), name.split(".")[:-1]
    tree = ast.parse(file.read_text(encoding="utf-8"))
    tree.body = [n for n in tree.body if not (isinstance(n, ast.If) and "__main__" in ast.unparse(n.test))]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import): used |= {a.name for a in node.names}
        if isinstance(node, ast.ImportFrom):
            inside = above[:len(above) - node.level + 1] if node.level else []
            base = ".".join([*(["gan_course"] if node.level else []), *inside, *([node.module] if node.module else [])])
            used |= {base} | {f"{base}.{a.name}" for a in node.names}
    names = {u.removeprefix("gan_course.") for u in used if u.startswith("gan_course.")}
    return {n for n in names if n in modules()} - {name}


def run(*command, cwd, **env):
    command = [str(c) for c in command]
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, env={**os.environ, **env}, timeout=600)
    assert done.returncode == 0, f"{command} failed:\n{done.stdout[-3000:]}{done.stderr[-3000:]}"
    return done.stdout


def python(code, cwd=ROOT):
    return run(sys.executable, "-c", code, cwd=cwd)


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
    made = [p.relative_to(ROOT) for p in [*LESSONS, *modules().values()]]
    changed = [str(p) for p in made if not filecmp.cmp(ROOT / p, copy / p, shallow=False)]
    assert not changed, f"run nbdev_clean and nbdev_export, then commit: {changed}"
    there = {str(p.relative_to(copy / "gan_course")) for p in (copy / "gan_course").rglob("*.py")}
    assert there == {str(p.relative_to(PACKAGE)) for p in modules().values()}


# ---- the house

def test_modules_are_the_notebooks_and_those_by_hand():
    assert set(modules()) == set(exported()) | BY_HAND


def test_modules_have_at_most_500_lines():
    long = {name: n for name, p in modules().items() if (n := len(p.read_text(encoding="utf-8").splitlines())) > 500}
    long.pop("_modidx", None)
    assert not long


def test_imports_run_one_way():
    files = modules()
    for i, name in enumerate(ORDER):
        later = imported(name, files[name]) - set(ORDER[:i])
        assert not later, f"{name} imports {later}, which come later"
    rest = {name for name in set(files) - set(ORDER) - {"__init__", "__main__", "_docs", "_modidx"}
            if not name.startswith(("cli.", "exercises."))}
    assert rest and all(name.startswith("studies.") for name in rest)
    studies = {name: imported(name, files[name]) & rest for name in rest}
    while leaves := [name for name, used in studies.items() if not used & set(studies)]:  # no circle among the studies
        for name in leaves: del studies[name]
    assert not studies


def test_the_distance_needs_neither_loop_nor_networks():
    assert imported("fid", modules()["fid"]) <= {"core", "guards", "session", "storage"}
    code = "import sys, gan_course.fid; print([m for m in sys.modules if m.startswith('gan_course.')])"
    few = ("fid", "core", "guards", "session", "storage")
    assert set(ast.literal_eval(python(code))) == {f"gan_course.{m}" for m in few}


def test_who_reads_a_run_does_not_import_the_loop():
    for name in ("runs", "features", "fid", "evaluation", "gradcam", "latent", "scenes", "embed", "widgets"):
        assert "training" not in imported(name, modules()[name]), name


def test_no_name_at_the_top_equals_a_module():
    names = set(gan_course._LAZY)
    assert not names & {name.partition(".")[0] for name in modules()}
    assert set(gan_course._MODULES) == {name.partition(".")[0] for name in modules()} - {
        "__init__", "__main__", "_docs", "_modidx", "cli"} | {"studies"}
    for_checkers = {  # what a type checker is told
        alias.name: node.module for block in ast.parse((PACKAGE / "__init__.py").read_text(encoding="utf-8")).body
        if isinstance(block, ast.If) for node in block.body if isinstance(node, ast.ImportFrom) for alias in node.names}
    assert for_checkers == gan_course._LAZY


@pytest.mark.parametrize("first", ["gan_course.training", "gan_course.fid", "gan_course.widgets", "gan_course.cli", ""])
def test_names_at_the_top_are_the_same_in_every_order_of_import(first):
    code = f"""
import importlib, inspect
if {first!r}: importlib.import_module({first!r})
import gan_course
from gan_course import train, evaluate
before = {{name: getattr(gan_course, name) for name in gan_course._LAZY}}
for name in reversed(gan_course._MODULES): importlib.import_module(f"gan_course.{{name}}")
for name, value in before.items():
    assert getattr(gan_course, name) is value and not inspect.ismodule(value), name
assert callable(train) and inspect.ismodule(gan_course.fid) and set(gan_course._LAZY) <= set(dir(gan_course))
"""
    python(code)


def test_the_lab_extra_is_named_where_it_is_missing():
    python("""
import sys
sys.modules["ipywidgets"] = sys.modules["anywidget"] = None  # as if they were not installed
import gan_course
assert gan_course.latent_walk_html and gan_course.epoch_browser_html
try: gan_course.LatentExplorer
except ImportError as e: assert "gan-course[lab]" in str(e) and "\\n" not in str(e), e
else: raise AssertionError("no error")
""")


# ---- form of code and lessons

def test_ruff_finds_nothing():
    def check(*args): run(sys.executable, "-m", "ruff", "check", "--no-cache", *args, cwd=ROOT)
    made = {PACKAGE / f"{name.replace('.', '/')}.py" for name in exported()}
    made |= {PACKAGE / "_modidx.py"}
    check("tests", "bench", ".ci", *(p for p in modules().values() if p not in made))
    check("--line-length", 110, "nbs")
    check("--extend-ignore", "E501,I001", *made)  # nbdev writes their heads in a form of its own


def test_lines_of_lessons_fit_the_page():
    """Comments too, and cells that ruff leaves out."""
    wide = [name for name, c in code_cells() if any(len(line) > 110 for line in c.source.splitlines())]
    assert not wide


def test_types_hold():
    command = [sys.executable, "-m", "pyright", "--project", ROOT, "--pythonpath", sys.executable]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0 and "\n0 errors" in f"\n{done.stdout}", done.stdout[-3000:] + done.stderr[-1000:]
    assert (PACKAGE / "py.typed").exists()


def test_no_star_imports():
    sources = [(name, c.source) for name, c in code_cells()]
    files = [p for folder in ("gan_course", "tests", "bench", ".ci") for p in (ROOT / folder).rglob("*.py")]
    sources += [(p.name, p.read_text(encoding="utf-8")) for p in files]
    assert not [name for name, source in sources if re.search(r"^\s*from\s+\S+\s+import\s+\*", source, re.M)]


def test_cells_are_short():
    lines = {name: sum(bool(line.strip()) for line in c.source.splitlines()) for name, c in code_cells()}
    assert not {name: n for name, n in lines.items() if n > 45}


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
        texts = [o.get("text", "") + str(o.get("data", {}).get("text/plain", "")) for o in cell.outputs]
        shown = "\n".join([cell.source, *texts])
        assert not re.search(r"(?<![\w.~])/(root|home|tmp|work|Users)/", shown), f"{name}: an absolute path"
        assert "widget-view" not in str(cell.outputs), f"{name}: a stored widget view"


def test_each_lesson_shows_a_picture_within_five_cells():
    for path, nb in LESSONS.items():
        if path in ENGINE_ROOM: continue
        code = [c for c in nb.cells if c.cell_type == "code" and not re.match(r"#\|\s*default_exp", c.source)]
        kinds = [kind for c in code[:5] for o in c.outputs for kind in o.get("data", {})]
        assert {"image/png", "image/jpeg"} & set(kinds), f"{path.name}: no picture in its first five code cells"


def test_the_lesson_on_training_begins_with_a_loop():
    """Within the first twenty cells it is asked for, and at most twenty lines train two networks against each other."""
    cells = LESSONS[ROOT / "nbs/06_training.ipynb"].cells[:20]
    assert any('check("06.1"' in c.source for c in cells)
    loop = inspect.getsource(all_exercises()["06.1"].solution)
    assert loop.count(".backward()") == 2 and loop.count(".step()") == 2
    assert len([line for line in loop.splitlines() if line.strip()]) <= 20


# ---- what readers are told

def test_readme_tells_the_truth():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    makefile, settings = (ROOT / "Makefile").read_text(), (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    for target in re.findall(r"^make (\w+)", readme, re.M): assert re.search(rf"^{target}:", makefile, re.M), target
    for extras in re.findall(r"\[([a-z,]+)\]\"", readme):
        for extra in extras.split(","): assert re.search(rf"^{extra} = ", settings, re.M), f"extra [{extra}]"
    for _, target in re.findall(r"\[([^\]]*)\]\(([^)]+)\)", readme):
        if target.startswith(("http", "#")): continue
        assert (ROOT / target.partition("#")[0]).exists(), f"README links to {target}"
    for script in re.findall(r"python (bench/\w+\.py)", readme): assert (ROOT / script).exists(), script
    for module in re.findall(r"python -m gan_course\.([\w.]+)", readme): assert module in modules(), module
    commands = re.findall(r"^gan-course (\w+)(.*)", readme, re.M)
    assert commands
    for name, rest in commands:
        help_text = run(BIN / "gan-course", name, "--help", cwd=ROOT, COLUMNS="200")
        for option in re.findall(r"--[a-z0-9-]+", rest): assert option in help_text, f"gan-course {name} {option}"


def test_readme_and_home_page_list_the_same_lessons():
    tables = [re.findall(r"^\|.*\(nbs/\S+\.ipynb\).*\|$", (ROOT / name).read_text(encoding="utf-8"), re.M)
              for name in ("README.md", "index.qmd")]
    assert tables[0] == tables[1]
    listed = [ROOT / re.search(r"\((nbs/\S+\.ipynb)\)", row)[1] for row in tables[0]]
    assert listed == [p for p in NOTEBOOKS if p not in ENGINE_ROOM]


def test_every_page_is_made(copy):
    run(sys.executable, "-c", "from nbdev.serve import proc_nbs; proc_nbs('.')", cwd=copy)
    chapters = re.findall(r"^\s*- (\S+\.(?:ipynb|qmd))$", (ROOT / "_quarto.yml").read_text(encoding="utf-8"), re.M)
    assert {ROOT / c for c in chapters if c.endswith(".ipynb")} == set(LESSONS), "_quarto.yml lists every lesson"
    missing = [c for c in chapters if not (copy / "_proc" / c).exists()]
    assert not missing
    pages = {f"/nbs/{p.stem.partition('_')[2]}.html" for p in LESSONS}  # nbdev drops the lesson's number
    leads = {}  # relative links lead somewhere
    for chapter in chapters:
        page = copy / "_proc" / chapter
        cells = nbformat.read(page, 4).cells if page.suffix == ".ipynb" else []
        texts = [c.source for c in cells if c.cell_type == "markdown"]
        text = "\n".join(texts) if cells else page.read_text(encoding="utf-8")
        for target in re.findall(r"\]\((?!https?:|#|data:|attachment:)([^)\s\"\\]+)\)", text):
            place = page.parent / target.partition("#")[0]
            leads[f"{chapter} → {target}"] = place.exists() or target.partition("#")[0] in pages
    assert not [link for link, known in leads.items() if not known]


def test_versions_agree():
    citation = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    settings = (ROOT / "settings.ini").read_text(encoding="utf-8")
    assert re.search(r"^version: (\S+)", citation, re.M)[1] == gan_course.__version__
    assert re.search(r"^version = (\S+)", settings, re.M)[1] == gan_course.__version__


def test_wheel_works_without_the_clone(copy, tmp_path):
    run(sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", tmp_path, cwd=copy)
    venv.create(tmp_path / "env", with_pip=False)
    bin = tmp_path / "env" / ("Scripts" if os.name == "nt" else "bin")
    purelib = "import sysconfig; print(sysconfig.get_path('purelib'))"
    site = Path(run(bin / "python", "-c", purelib, cwd=tmp_path).strip())
    # a path given so does not bring the editable install's own .pth with it
    (site / "dependencies.pth").write_text(run(sys.executable, "-c", purelib, cwd=tmp_path).strip())
    wheel = next(tmp_path.glob("*.whl"))
    run(sys.executable, "-m", "pip", "--python", bin / "python", "install", "--quiet", "--no-deps", "--no-index", wheel,
        cwd=tmp_path)
    names = [f"gan_course.{name}".removesuffix(".__init__") for name in modules() if not name.endswith("__main__")]
    names.remove("gan_course._docs")
    code = f"import importlib\nfor name in {names}: print(importlib.import_module(name).__file__)"
    files = run(bin / "python", "-c", code, cwd=tmp_path).split()
    assert len(files) == len(names) and all(file.startswith(str(site)) for file in files)
    assert "train" in run(bin / "gan-course", "--help", cwd=tmp_path)
    run(bin / "gan-course", "sample", "toy-birds-dcgan", "--n", 4, "--out", "birds.png", cwd=tmp_path)
    assert (tmp_path / "birds.png").exists()
