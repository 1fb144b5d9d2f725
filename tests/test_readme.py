"""What README and notebook print to be copied runs as printed."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from test_app import serve

from train.__main__ import main

CHECKOUT = Path(__file__).resolve().parents[1]
README = (CHECKOUT / "README.md").read_text(encoding="utf-8")
FENCED = re.findall(r"^```(\w*)\n(.*?)^```$", README, re.DOTALL | re.MULTILINE)
PYTHON = [block for language, block in FENCED if language == "python"]
TERMINAL = [
    line.partition("#")[0].strip()
    for language, block in FENCED
    if not language
    for line in block.splitlines()
]


def run(command: list[str] | str) -> str:
    """What a command prints, run in the checkout."""
    done = subprocess.run(
        command,
        cwd=CHECKOUT,
        # A reader's shell has no such variable.
        env={name: value for name, value in os.environ.items() if name != "PNEUMONIA_LEAN"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        shell=isinstance(command, str),
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_first_lines_of_python_print_what_their_comments_say() -> None:
    code = PYTHON[0]
    said = re.findall(r"^print\(.*\)  # (.+)$", code, re.MULTILINE)
    printed = run([sys.executable, "-c", code]).splitlines()
    assert said and printed[: len(said)] == said
    assert len([line for line in code.splitlines() if line]) <= 6


def test_the_terminal_line_answers_every_example() -> None:
    line = next(line for line in TERMINAL if "predict" in line)
    printed = run(re.sub(r"^(python -m )?pneumonia", f"{sys.executable} -m pneumonia", line))
    examples = list((CHECKOUT / "assets" / "examples").glob("*.jpeg"))
    assert len(re.findall(r"^(?:NORMAL|PNEUMONIA)", printed, re.MULTILINE)) == len(examples)


def test_the_call_over_the_api_answers(models_folder, tmp_path) -> None:
    code = next(block for block in PYTHON if "gradio_client" in block)
    with pytest.MonkeyPatch.context() as patch:
        page = serve(models_folder, tmp_path, patch)
        try:
            code = code.replace("http://127.0.0.1:7860", page.local_url)
            printed = run([sys.executable, "-c", code])
        finally:
            page.close()
    assert "PNEUMONIA" in printed or "NORMAL" in printed


def test_commands_named_in_the_readme_exist(capsys) -> None:
    named = {
        found[1] for line in TERMINAL if (found := re.match(r"python -m train ([\w-]+)", line))
    }
    with pytest.raises(SystemExit):
        main(["--help"])
    offered = capsys.readouterr().out
    assert named and not {
        name for name in named if not re.search(rf"^\s+{name}\b", offered, re.MULTILINE)
    }


def test_the_readme_is_short() -> None:
    lines = README.split("---\n", 2)[2].splitlines()
    assert len(lines) <= 150 and sum(len(line.split()) for line in lines) <= 1200


def test_links_lead_somewhere() -> None:
    for file in (CHECKOUT / "README.md", *CHECKOUT.glob("*.md"), *CHECKOUT.glob("docs/*.md")):
        for link in re.findall(r"\]\(([^)#:]+)(?:#[\w-]+)?\)", file.read_text(encoding="utf-8")):
            assert (file.parent / link).exists(), f"{file.name}: {link}"
