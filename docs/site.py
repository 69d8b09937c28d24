"""Pages that the site takes from elsewhere: a hook of MkDocs, for results, recipes, changes and notebooks."""

from __future__ import annotations

import re
from os.path import relpath
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[1]
PAGES = {
    "results.md": "RESULTS.md",
    "speed.md": "BENCHMARKS.md",
    "recipes.md": "lightning_warmup/RECIPES.md",
    "changes.md": "CHANGELOG.md",
}


def on_files(files: Files, config: Any) -> Files:
    """Add the pages, and the pictures that they show."""
    for name, source in PAGES.items():
        text, pictures = moved((ROOT / source).read_text())
        files.append(File.generated(config, name, content=text))
        for picture in pictures:
            target = f"pictures/{picture.replace('/', '-').lstrip('.')}"
            files.append(File.generated(config, target, abs_src_path=str(ROOT / picture)))
    for notebook in sorted((ROOT / "docs" / "notebooks").glob("*.ipynb")):
        add_notebook(notebook, files, config)
    return files


def on_page_markdown(markdown: str, page: Page, config: Any, files: Files) -> str:
    """Return a page whose links to these files have the names that the site gives them."""
    folder = Path("docs", page.file.src_uri).parent
    for name, source in PAGES.items():
        here, there = relpath(source, folder), relpath(Path("docs", name), folder)
        markdown = markdown.replace(f"]({here}", f"]({there}")
    return re.sub(r"(\]\([^)]+)\.ipynb\)", r"\1.md)", markdown)


def moved(text: str) -> tuple[str, list[str]]:
    """Return a page with paths as the site has them, and the paths of its pictures in the repository.

    A link to a file that the site does not have is left as its words.
    """
    pictures = re.findall(r"!\[[^\]]*\]\(([^)]+)\)", text)
    for picture in pictures:
        text = text.replace(f"]({picture})", f"](pictures/{picture.replace('/', '-').lstrip('.')})")
    for words, path in re.findall(r"(?<!!)\[([^\]]+)\]\(((?!https?:|#)[^)]+)\)", text):
        page = next((name for name, source in PAGES.items() if source == path), path.removeprefix("docs/"))
        known = page in PAGES or (ROOT / "docs" / page).is_file()
        text = text.replace(f"[{words}]({path})", f"[{words}]({page})" if known else words)
    return text, pictures


def add_notebook(path: Path, files: Files, config: Any) -> None:
    """Add a notebook with the outputs that it was stored with, as a page."""
    from nbconvert import MarkdownExporter

    text, resources = MarkdownExporter().from_filename(str(path))
    for name, content in resources["outputs"].items():
        text = text.replace(f"]({name})", f"]({path.stem}-{name})")
        files.append(File.generated(config, f"notebooks/{path.stem}-{name}", content=content))
    files.append(File.generated(config, f"notebooks/{path.stem}.md", content=text))
