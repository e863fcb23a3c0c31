"""Each exercise: its solution and other right ways pass, every wrong answer is refused for its own reason."""
import json
import re
import warnings

import nbformat
import pytest

import gan_course
from conftest import ROOT
from gan_course.core import InputError
from gan_course.exercises import all_exercises, check, hint, progress, progress_lines, solution
from gan_course.exercises._judge import Exercise, Wrong, is_stub, judge, lessons
from gan_course.exercises._record import read_record

EXERCISES = list(all_exercises().values())
each = pytest.mark.parametrize("e", EXERCISES, ids=lambda e: e.id)


@pytest.fixture(autouse=True)
def records(tmp_path, monkeypatch):
    monkeypatch.setenv("GAN_COURSE_PROGRESS", str(tmp_path / "progress"))
    return tmp_path / "progress"


@each
def test_right_answers_pass(e):
    for answer in (e.solution, *e.others, *([] if e.use is None else [e.use])):
        verdict = judge(e, answer)
        assert verdict.right, f"{verdict.reason} {verdict.details}"
    assert not callable(e.solution) or len(e.others) + (e.use is not None) >= 2


@each
def test_wrong_answers_are_refused_for_their_own_reason(e):
    for wrong in e.wrong:
        assert judge(e, wrong.answer).known is wrong, wrong.reason
    assert len(e.wrong) >= 4 and len({w.reason for w in e.wrong}) == len(e.wrong)


@each
def test_an_exercise_is_complete(e):
    assert e.title and e.hints and 1 <= e.difficulty <= 3 and 1 <= e.minutes <= 40
    assert e.otherwise or not callable(e.solution)
    assert all(text.endswith((".", "?", "!", ":")) for text in (*e.hints, *(w.reason for w in e.wrong)))


@each
def test_the_solution_is_shown(e, capsys):
    solution(e.id)
    assert len(capsys.readouterr().out) > 1 and read_record(e.id).shown


def test_lessons_and_exercises_belong_together():
    "Every exercise is asked for in its lesson, in order; every lesson asks only for exercises that exist."
    asked = {}
    for path in sorted(ROOT.glob("nbs/*.ipynb")):
        code = "\n".join(c.source for c in nbformat.read(path, 4).cells if c.cell_type == "code")
        if ids := re.findall(r"check\(\"([\d.]+)\"", code): asked[path.name[:2]] = ids
    assert asked == {lesson.number: [e.id for e in lesson.exercises] for lesson in lessons()}
    assert all(e.id == f"{lesson.number}.{i}" for lesson in lessons() for i, e in enumerate(lesson.exercises, 1))


def double(x):
    return 2 * x


def observe(answer, dice):
    yield "a number near three", answer(3.)


SMALL = Exercise("99.1", "Twice", 1, 1, ["Multiply."], double, [Wrong(lambda x: x + 2, "you added.")], observe,
                 otherwise="think of 2x")


@pytest.fixture
def small(monkeypatch):
    monkeypatch.setattr(gan_course.exercises, "all_exercises", lambda: {"99.1": SMALL})


def test_check_gives_back_what_follows_can_use(small, capsys):
    def mine(x): return x + x
    def stub(x): ...
    def half_done(x):
        y = ...
        return y
    assert check("99.1", mine) is mine
    assert check("99.1", stub) is check("99.1", half_done) is check("99.1", None) is double
    assert check("99.1", lambda x: x + 2) is check("99.1", lambda x: 7.) is check("99.1", lambda x: x.nothing) is double
    said = capsys.readouterr().out
    assert said.count("not started") == 3 and said.count("you added") == 1 and said.count("think of 2x") == 1
    assert "yours is 7, expected 6" in said and "AttributeError" in said


def test_a_value_where_a_function_is_asked_for(small, capsys):
    assert check("99.1", 6.) is double and "the function itself" in capsys.readouterr().out


def test_unknown_exercise(small):
    with pytest.raises(InputError, match="did you mean '99.1'"): check("99.2", double)


def test_progress_outlives_the_session(small, capsys, tmp_path):
    check("99.1", lambda x: x + 2)
    hint("99.1")
    assert (read_record("99.1").tried, read_record("99.1").hints, read_record("99.1").passed) == (1, 1, "")
    check("99.1", double)
    progress(json=tmp_path / "me.json")
    stored = json.loads((tmp_path / "me.json").read_text())["99.1"]
    assert stored["passed"] and stored["tried"] == 2 and len(stored["answer"]) == 64 and not stored["shown"]
    check("99.1", lambda x: 3 * x)
    assert read_record("99.1").passed == stored["passed"]  # once passed, passed


def test_damaged_records_count_as_nothing(small, records):
    check("99.1", double)
    for text in ("", "[1]", '{"tried": "many"}', "\udc80"):
        (records / "99.1.json").write_text(text, encoding="utf-8", errors="surrogateescape")
        assert read_record("99.1").tried == 0


def test_where_no_progress_can_be_kept_the_lesson_goes_on(small, records):
    records.write_text("a file where the folder should be")
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        assert check("99.1", double) is double
    assert "progress cannot be kept" in str(seen[0].message)


def test_progress_has_a_line_a_lesson():
    lines = progress_lines()
    assert len(lines) == len(lessons()) + 1 and "0 of" in lines[-1]


def test_stubs():
    class Unwritten:
        def forward(self, x): ...

    class Written:
        def forward(self, x): return x

    def indexed(x, i): return x[..., i]
    def half_indexed(x, i):
        y = ...
        return y, x[..., i]
    assert is_stub(Unwritten) and not is_stub(Written) and not is_stub(double) and not is_stub(0)
    assert is_stub(half_indexed) and not is_stub(indexed)


# ---- how long a lesson takes

def words(text):
    "Words of prose; a formula in the line counts as one."
    text = re.sub(r"```.*?```|\$\$.*?\$\$|<[^>]+>", "", text, flags=re.DOTALL)
    return sum(bool(re.search(r"\w", word)) for word in re.sub(r"\$[^$]*\$", " x ", text).split())


def reading_minutes(cells):
    "180 words or 12 lines of code a minute; code that is folded away need not be read."
    code = [c for c in cells if c.cell_type == "code" and not c.metadata.get("jupyter", {}).get("source_hidden")]
    lines = sum(bool(line.strip()) and not line.startswith("#|") for c in code for line in c.source.splitlines())
    return sum(words(c.source) for c in cells if c.cell_type == "markdown") / 180 + lines / 12


@pytest.mark.parametrize("lesson", lessons(), ids=lambda lesson: lesson.number)
def test_the_stated_minutes_are_measured(lesson):
    path = next(ROOT.glob(f"nbs/{lesson.number}_*.ipynb"))
    cells = nbformat.read(path, 4).cells
    text = "\n".join(c.source for c in cells[:3])
    stated = re.search(r"\*\*Time:\*\* about (\d+) minutes, of them (\d+) for the exercises", text)
    assert stated, "the head of a lesson with exercises says **Time:** about N minutes, of them M for the exercises"
    whole, exercises = map(int, stated.groups())
    assert exercises == sum(e.minutes for e in lesson.exercises)
    assert abs(whole - exercises - reading_minutes(cells)) <= 5 and whole <= 90
    for page in ("README.md", "index.qmd"):
        rows = (ROOT / page).read_text(encoding="utf-8").splitlines()
        row = next(r for r in rows if r.startswith(f"| {lesson.number} |"))
        assert row.rstrip().endswith(f"| {whole} |"), f"{page}: {row}"


def test_the_first_gan_runs_within_a_quarter_of_an_hour():
    cells = nbformat.read(ROOT / "nbs/00_start.ipynb", 4).cells
    so_far = cells[:1 + next(i for i, c in enumerate(cells) if "path = play(d_step, g_step)" in c.source)]
    exercises = re.findall(r"\*Exercise [\d.]+ · (\d+) minutes", "\n".join(c.source for c in so_far))
    assert len(so_far) < 20 and reading_minutes(so_far) + sum(map(int, exercises)) <= 15
