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

def pin(name, version):
    marker = ' ; sys_platform == "linux"' if CUDA.match(name) else ""
    return f"{name}=={version.split('+')[0]}{marker}"


found = [item["metadata"] for item in report["install"]]
names = sorted((re.sub(r"[-_.]+", "-", about["name"].lower()), about["version"]) for about in found)
print(HEAD + "\n".join(pin(name, version) for name, version in names if name != "gan-course"))
