"""The command line: `gan-course train | sample | evaluate | diagnose | explain | export | runs | …`.

Bad input gives one line on stderr and exit status 2. torch takes seconds to import: everything that needs it is
imported inside the commands, after the options are read, so that --help is quick.
"""
from __future__ import annotations

import sys

from gan_course.cli._diagnose import diagnose
from gan_course.cli._doctor import doctor
from gan_course.cli._exercises import exercises
from gan_course.cli._look import explain, export, sample
from gan_course.cli._measure import evaluate
from gan_course.cli._runs import best_fid as best_fid
from gan_course.cli._runs import runs
from gan_course.cli._surroundings import discard_output, fail, flush, print_anything, understood
from gan_course.cli._train import print_row as print_row
from gan_course.cli._train import recipe_options as recipe_options
from gan_course.cli._train import stored_options as stored_options
from gan_course.cli._train import train

HELP = """usage: gan-course COMMAND [options]

Train generative adversarial networks, look at what they make, measure it.

commands:
  train     train on images and write a run folder; --resume RUN goes on with one
  sample    new images from a run
  evaluate  FID, KID, precision and recall of a run, or of one folder of images against another
  diagnose  what looks sick in the curves of a run, how sure that is, and the cure
  explain   where the discriminator of a run looks: heat maps, and how much of the heat lies on the bird
  export    the generator of a run as a plain folder: weights, code that needs torch only, ONNX
  runs      the runs there are, a line each
  exercises the exercises of the lessons, and how far you are
  doctor    what there is here: versions, device, memory, threads, precision, the cache; and what to do about it

gan-course COMMAND --help explains the options of a command; --version says which version this is.

  gan-course train --data toy-birds --epochs 5 --out _runs/first
  gan-course train --recipe cifar10-dcgan
  gan-course sample _runs/first --n 16 --out birds.png
  gan-course evaluate _runs/first
  gan-course diagnose _runs/first
  gan-course explain _runs/first
  gan-course export _runs/first --out my-generator
  gan-course doctor
"""
COMMANDS = dict(train=train, sample=sample, evaluate=evaluate, diagnose=diagnose, explain=explain, export=export,
                runs=runs, exercises=exercises, doctor=doctor)


def main(argv: list[str] | None = None) -> None:
    """Run a command; what is wrong with its input is said in one line, with exit status 2."""
    argv = sys.argv[1:] if argv is None else argv
    print_anything()
    everywhere = argv[:1] != ["train"]  # a training may be in several processes
    try:
        try: run(argv)
        finally: flush()
    except BrokenPipeError:  # `gan-course runs | head -1`: nobody reads the rest
        discard_output()
        sys.exit(141)  # as a shell says it of a program that a closed pipe ended
    except ValueError as e:
        from gan_course.core import InputError

        if not isinstance(e, InputError): raise
        fail(str(e), everywhere)
    except OSError as e:
        discard_output_if_full()
        fail(f"{e.strerror or e}: {e.filename}" if e.filename else str(e), everywhere)


def run(argv: list[str]) -> None:
    """A command by its name, or what is told of all of them."""
    if not argv or argv[0] in ("-h", "--help"):
        print(HELP, end="")
        sys.exit(0 if argv else 2)
    if argv[0] == "--version":
        from gan_course import __version__

        print(f"gan-course {__version__}")
        return
    if argv[0] not in COMMANDS:
        from gan_course.core import choose

        choose(argv[0], COMMANDS, "command")
    COMMANDS[argv[0]](understood(argv[1:]))


def discard_output_if_full() -> None:
    """What standard output did not take is not tried again when Python ends."""
    try: flush()
    except OSError: discard_output()
