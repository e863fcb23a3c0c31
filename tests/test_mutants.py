"""The mutants fit the code and the tests: a rename is noticed at once. `python tests/mutants.py` judges them."""
import ast
from collections import Counter

from beliefs import ROOT, all_mutants, edited

MUTANTS = all_mutants()


def words(text):
    return "".join(text.split())


def test_every_edit_fits_one_place_and_changes_it():
    sources = {m.path: m.path.read_text(encoding="utf-8") for m in MUTANTS}
    for m in MUTANTS:
        edited(m, sources[m.path])  # says which edit does not fit
        assert words(m.old) != words(m.new), f"{m.file}: {m.old!r} changes nothing"


def test_every_test_is_there():
    files = {m.test.split("::")[0] for m in MUTANTS}
    trees = {file: ast.parse((ROOT / "tests" / file).read_text(encoding="utf-8")) for file in files}
    known = {f"{file}::{node.name}" for file, tree in trees.items() for node in tree.body
             if isinstance(node, ast.FunctionDef)}
    assert {m.test.split("[")[0] for m in MUTANTS} <= known


def test_every_belief_is_a_sentence_of_its_own():
    beliefs = [m.belief for m in MUTANTS]
    assert all(belief.endswith(".") and len(belief.split()) >= 4 for belief in beliefs)
    assert [belief for belief, n in Counter(beliefs).items() if n > 1] == []
