"""What public functions refuse before they do anything, in one readable line; and what a guard leaves as it was."""
import dataclasses
import inspect
import pickle
import sys
import types
import warnings
from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from gan_course import guards, losses, toy
from gan_course.fid import FeatureStats, frechet_from_stats, warn_of_few
from gan_course.guards import InputError, guard


@pytest.fixture
def guarded(monkeypatch):
    """A function that guards functions and classes, as the last line of their module does."""
    def make(*things, **known):
        module = types.ModuleType("a_module_of_the_test")
        monkeypatch.setitem(sys.modules, module.__name__, module)
        for thing in things:
            thing.__module__ = module.__name__
            setattr(module, thing.__name__, thing)
        module.__all__ = [thing.__name__ for thing in things]
        guard(module.__name__, {name.replace("__", "."): rule for name, rule in known.items()})
        return [getattr(module, thing.__name__) for thing in things]
    return make


@pytest.mark.parametrize("hint, right, wrong", [
    (int, [3, np.int64(3)], [3., True, "3", None, np.float32(3), torch.tensor(3)]),
    (float, [3, .5, np.float32(.5)], ["x", False, None, 1j, torch.tensor(.5)]),
    (str, ["", "x"], [b"x", Path("x"), ["x"]]),
    (bool, [True], [1, None, "yes"]),
    (str | Path, ["x", Path("x")], [b"x", 3, None]),
    (int | None, [3, None], [3.5, "3"]),
    (Tensor, [torch.ones(2)], [np.ones(2), [1.], 2.]),
    (Tensor | np.ndarray, [torch.ones(2), np.ones(2)], [[1.], None]),
    (list[int], [[], [1, 2]], [(1, 2), [1, None], "12", [1, 2.5]]),
    (tuple[int, int], [(1, 2)], [(1,), (1, 2, 3), [1, 2], (1, "2")]),
    (tuple[int, ...], [(), (1, 2, 3)], [(1, "2"), 1]),
    (dict[str, Tensor], [{}, {"a": torch.ones(1)}], [{"a": 1}, {1: torch.ones(1)}, [],
                                                   {str(i): torch.ones(1) if i < 30 else i for i in range(31)}]),
    (Sequence[str], [["a"], ("a",)], ["a", {"a"}, [1]]),
    (Collection[str], [["a"], {"a"}, ()], ["a", [1], torch.ones(2)]),
    (Callable, [print, nn.ReLU()], [3, "print", None]),
    (Literal["a", "b"], ["a"], ["c", 1, torch.ones(2)]),
    (nn.Module, [nn.ReLU()], [nn.ReLU, None, print]),
    (object, [1, "a", None], []),
], ids=str)
def test_a_kind_is_what_the_annotation_says(guarded, hint, right, wrong):
    def take(value): return value
    take.__annotations__["value"] = hint
    checked, = guarded(take)
    for value in right: checked(value)
    for value in wrong:
        with pytest.raises(InputError, match="^take: value has to be "): checked(value)


@pytest.mark.parametrize("rule, right, wrong", [
    ("", [torch.ones(2, 3), torch.ones(()), np.ones(3), torch.full((2,), np.nan)], [torch.ones(0, 3), np.ones((2, 0))]),
    ("N D", [torch.ones(2, 3)], [torch.ones(2), torch.ones(2, 3, 1), torch.ones(0, 3)]),
    ("N 3", [torch.ones(2, 3)], [torch.ones(3, 2)]),
    ("N N", [torch.ones(2, 2)], [torch.ones(2, 3)]),
    ("… D", [torch.ones(3), torch.ones(1, 2, 3)], [torch.ones(())]),
    ("N … 3", [torch.ones(2, 3), torch.ones(2, 5, 3)], [torch.ones(3), torch.ones(2, 5)]),
    ("N empty", [torch.ones(0)], [torch.ones(0, 1)]),
    ("… float", [torch.ones(2).half(), np.ones(2, np.float32)], [torch.ones(2).int(), np.ones(2, bool)]),
    ("… uint8", [torch.ones(2, dtype=torch.uint8)], [torch.ones(2), torch.ones(2).bool()]),
    ("… finite", [torch.ones(2)], [torch.tensor([1., torch.nan]), np.array([np.inf])]),
    ("N 0..1", [torch.tensor([0., 1.])], [torch.tensor([0., 1.1]), torch.tensor([.5, torch.nan]), torch.ones(1, 1)]),
    ("1..10", [torch.tensor(3)], [torch.tensor([3, 11])]),
], ids=str)
def test_a_tensor_is_what_its_rule_says(guarded, rule, right, wrong):
    def take(x): return x
    checked, = guarded(take, x=rule)
    for value in right: checked(value)
    for value in wrong:
        with pytest.raises(InputError, match="^take: x "): checked(value)
    if rule and not guards.RANGE.fullmatch(rule):
        for value in (3, "x", print):
            with pytest.raises(InputError, match="has to be a tensor of"): checked(value)


@pytest.mark.parametrize("x", [
    torch.ones(2, device="meta"), torch.eye(2).to_sparse(), torch.ones(2) * 1j, np.array(["a"]), np.array([None]),
    torch.quantize_per_tensor(torch.ones(2), .1, 0, torch.quint8)], ids=["meta", "sparse", "complex", "text", "objects",
                                                                        "quantised"])
def test_numbers_that_do_not_lie_in_memory_one_by_one_are_refused(guarded, x):
    def take(x): return x
    checked, = guarded(take)
    for given in (x, [x], {"a": x}):
        with pytest.raises(InputError, match="plain real numbers"): checked(given)


def test_the_same_letter_is_the_same_size_in_a_call_and_in_this_call_only(guarded):
    def pair(a: Tensor, b: Tensor): return a
    checked, = guarded(pair, a="N D", b="M D")
    checked(torch.ones(2, 3), torch.ones(4, 3))
    checked(torch.ones(2, 5), torch.ones(4, 5))
    with pytest.raises(InputError, match=r"b has to be of shape \(M, D\) with D = 3, not a Tensor of shape \(4, 5\)"):
        checked(torch.ones(2, 3), b=torch.ones(4, 5))


@pytest.mark.parametrize("rule, right, wrong", [
    ("", [0, -3., 2**63 - 1, 1e308], [np.nan, np.inf, -np.inf, 2**63, -2**63 - 1, 10**400, np.float32("nan")]),
    ("1..10", [1, 10, 2.5], [0, 11, .999, -np.inf]),
    ("0..", [0, 1e300], [-1e-9]),
    ("..1", [-5, 1], [1.1]),
    ("1e-6..1e6", [1e-6, 1], [0, 1e7]),
    ("any", [np.nan, np.inf], []),
])
def test_a_number_is_finite_and_in_its_range(guarded, rule, right, wrong):
    def take(n: float): return n
    checked, = guarded(take, n=rule)
    for value in right: checked(value)
    for value in wrong:
        with pytest.raises(InputError, match="^take: n has to be "): checked(value)


def test_an_object_has_what_will_be_asked_of_it(guarded):
    def draw(run, other=None): return run
    checked, = guarded(draw, run="with history epochs", other="with history")
    checked(types.SimpleNamespace(history=[], epochs=[]))
    for wrong in (None, 3, types.SimpleNamespace(history=[]), type("Run", (), dict(history=[], epochs=[]))):
        with pytest.raises(InputError, match="run has to be an object with history, epochs"): checked(wrong)


def test_a_device_is_one_that_is_there(guarded):
    def move(device): return device
    checked, = guarded(move, device="device")
    for right in ("cpu", torch.device("cpu")): checked(right)
    for wrong in ("gpu", "cuda:77", Path("cpu"), [], -1, True):
        with pytest.raises(InputError, match="device has to be a device"): checked(wrong)


def test_several_arguments_are_checked_one_by_one(guarded):
    def add(*numbers: int, **more: int): return sum(numbers) + sum(more.values())
    checked, = guarded(add)
    assert checked(1, 2, a=3) == 6
    with pytest.raises(InputError, match="numbers has to be a whole number, not 'x'"): checked(1, "x")
    with pytest.raises(InputError, match="more has to be a whole number"): checked(1, a=None)


def test_defaults_are_not_checked_and_none_is_allowed_where_it_is_the_default(guarded):
    def take(n=float("inf"), x: Tensor = None): return n  # noqa: RUF013
    checked, = guarded(take, n="1..", x="N D")
    assert checked() == float("inf") and checked(3, None) == 3
    with pytest.raises(InputError): checked(float("inf"))


def test_arguments_that_do_not_fit_are_told_in_the_words_of_python(guarded):
    def take(n: int): return n
    checked, = guarded(take)
    for wrong in (lambda: checked(), lambda: checked(1, 2), lambda: checked(m=1)):
        with pytest.raises(TypeError): wrong()


class Box:
    """A class with all kinds of methods."""

    def __init__(self, size: int): self.size = size

    def grow(self, by: int): return Box(self.size + by)

    def _inner(self, by): return by

    @classmethod
    def of(cls, size: int): return cls(size)

    @staticmethod
    def area(side: float): return side**2

    @property
    def twice(self): return 2 * self.size


def test_methods_are_guarded_and_stay_what_they_are(guarded):
    kept = dict(vars(Box))
    try:
        box, = guarded(Box, Box__size="1..", Box__of__size="5..", Box__grow__by="0..")
        assert box(3).grow(1).size == 4 and box.of(5).twice == 10 and box.area(2.) == 4 and box(1)._inner("x") == "x"
        for wrong in (lambda: box(0), lambda: box("x"), lambda: box(1).grow(-1), lambda: box.of(4),
                      lambda: box.area("x")):
            with pytest.raises(InputError, match="^Box"): wrong()
        assert inspect.signature(box) == inspect.signature(type("Box", (), dict(__init__=kept["__init__"])))
    finally:
        for name in ("__init__", "grow", "of", "area"): setattr(Box, name, kept[name])


def test_a_generator_refuses_when_it_is_called_and_not_when_it_is_read(guarded):
    def count(n: int) -> Iterator[int]: yield from range(n)
    checked, = guarded(count, n="1..")
    assert list(checked(2)) == [0, 1] and inspect.unwrap(checked) is count
    with pytest.raises(InputError): checked(0)


def test_what_is_guarded_looks_as_it_was_written():
    assert losses.bce_d.__doc__.startswith("Binary cross-entropy")
    assert list(inspect.signature(losses.bce_d).parameters) == ["real_logits", "fake_logits"]
    assert inspect.getsource(losses.bce_d).startswith("def bce_d(") and losses.bce_d.__module__ == "gan_course.losses"
    assert "real_logits" in inspect.getsource(inspect.unwrap(losses.bce_d))


def test_documentation_shows_what_was_written():
    from nbdev.showdoc import show_doc

    page = str(show_doc(losses.gradient_penalty))
    assert "gradient_penalty" in page and "draws one number a sample" in page and "args" not in page


def test_what_is_guarded_can_be_pickled_and_copied():
    assert pickle.loads(pickle.dumps(losses.bce_d)) is losses.bce_d
    config = toy.ToyConfig(seed=3)
    assert pickle.loads(pickle.dumps(config)) == config and dataclasses.replace(config, steps=4).steps == 4
    with pytest.raises(InputError): dataclasses.replace(config, hidden=10**9)


class Picky(nn.Module):
    """A network that takes three numbers."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(3, 1)

    def forward(self, x): return self.layer(x)


def test_a_network_that_fails_at_what_it_is_given_is_wrong_input(guarded):
    def use(D: nn.Module, x: Tensor): return D(x)
    checked, = guarded(use)
    checked(Picky(), torch.ones(2, 3))
    with pytest.raises(InputError, match=r"^use: Picky cannot take what it is given \(RuntimeError: .*mat1") as error:
        checked(Picky(), torch.ones(2, 4))
    assert isinstance(error.value.__cause__, RuntimeError)


def test_a_mistake_of_ours_stays_a_mistake_of_ours(guarded):
    def use(D: nn.Module, x: Tensor): return D(x)[7]
    checked, = guarded(use)
    with pytest.raises(IndexError): checked(Picky(), torch.ones(2, 3))


def test_a_name_that_no_disk_takes_is_said(guarded):
    def take(path: Path): return path.is_file()
    checked, = guarded(take)
    assert not checked(Path("not there"))
    with pytest.raises(InputError, match="take: the name of a file is too long: 'nnn"): checked(Path("n" * 300))


def test_memory_that_is_not_there_is_said(guarded):
    def take(n: int): return torch.empty(n)
    checked, = guarded(take)
    with pytest.raises(InputError, match="not enough memory for this .*take smaller sizes"): checked(10**15)


@pytest.mark.parametrize("text, told", [
    ("two\nlines\tand  more", "two lines and more"), ("a\x1b[31mb", "a?[31mb"), ("\ud800", "?"), ("é…→", "é…→")])
def test_a_message_is_one_line_that_can_be_printed(text, told):
    assert str(InputError(text)) == told and str(pickle.loads(pickle.dumps(InputError(text)))) == told


def test_of_a_long_message_both_ends_are_told():
    message = str(InputError(f"begin {'x' * 5000} end"))
    assert len(message) <= guards.LETTERS and message.startswith("begin x") and message.endswith("x end")


def test_a_rule_that_fits_nothing_is_a_mistake(guarded):
    def take(n): return n
    with pytest.raises(TypeError, match=r"no function has \['m'\]"): guarded(take, m="1..")
    with pytest.raises(TypeError, match="not the name of an imported module"): guard("no.such.module")


def test_what_surrounds_a_generator_function_surrounds_its_steps_and_not_its_reader():
    config, modes = toy.ToyConfig(steps=4, batch_size=4, hidden=4), []
    wanted = list(toy.play(config, 2, 8))
    try:
        torch.set_default_dtype(torch.float64)
        with torch.no_grad():
            for found, plain in zip(toy.play(config, 2, 8), wanted, strict=True):
                assert all(torch.equal(found[k], v) for k, v in plain.items() if isinstance(v, torch.Tensor))
                modes.append((torch.get_default_dtype(), torch.is_grad_enabled()))
    finally: torch.set_default_dtype(torch.float32)
    assert modes == [(torch.float64, False)] * 3


def test_every_module_ends_with_its_guard():
    from conftest import ROOT

    for file in sorted((ROOT/"gan_course").glob("[a-z]*.py")):
        if file.stem == "guards" or "__all__" not in file.read_text("utf-8"): continue
        assert file.read_text("utf-8").rstrip().rpartition("\nguard(")[2].startswith("__name__"), file.name


def test_a_warning_names_the_line_of_the_caller(tmp_path):
    "And not a line of the guards, or of what sets the session right."
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        warn_of_few(9, 30)
        few = FeatureStats().update(torch.randn(5, 8))
        frechet_from_stats(few, few)
    assert [w.filename for w in said] == [__file__] * 2
