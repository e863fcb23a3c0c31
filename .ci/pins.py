"""Write constraints.txt from a pip report: `make pins`, after a change of the dependencies.

The report resolves everything the package and its extras ask for, so the pins install together; what exists
only where torch brings its own CUDA libraries gets a marker, so that other machines can use the same file.
"""
import json
import re
import sys

HEAD = """# The course's environment, one set that installs together (`pip check` is clean). Made by `make pins`.
# The package's own bounds in pyproject.toml are wide; these pins serve the lessons, the tests and the site.
"""
CUDA = re.compile(r"^(nvidia-|cuda-|triton$)")

report = json.load(sys.stdin)
names = sorted((re.sub(r"[-_.]+", "-", i["metadata"]["name"].lower()), i["metadata"]["version"]) for i in report["install"])
pins = [f"{n}=={v.split('+')[0]}" + (' ; sys_platform == "linux"' if CUDA.match(n) else "") for n, v in names if n != "gan-course"]
print(HEAD + "\n".join(pins))
