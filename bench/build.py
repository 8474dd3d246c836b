"""The trconvert program that scripts of this folder run."""
import os, subprocess


def program(given, folder):
    """The path given or, where that is empty, of a program built into folder from the module around this file; that needs Go."""
    if given:
        return given
    path = os.path.join(os.path.abspath(folder), "trconvert")
    subprocess.run(["go", "build", "-o", path, "./cmd/trconvert"], check=True, cwd=os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    return path
