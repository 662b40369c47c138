"""Rebuild texts/prose.txt from three unpacked packages; texts/SOURCES.md says where they come from.

    python scripts/prose.py MOBY_DICK SOTU RDATA

MOBY_DICK and SOTU are the folders `data` of the npm packages, RDATA is the file `Rdata.rdb` of the Debian package.
"""

import re
import sys
import zlib
from collections.abc import Iterator
from itertools import zip_longest
from pathlib import Path

STORY = (4, 5, 7, 8, 10, 22, 23, 35, 44, 47, 48, 49, 58, 59, 111, 114, 116, 118, 124, 125, 126, 130, 132, 133)
WHALES = (45, 55, 56, 57, 60, 68, 70, 74, 75, 76, 79, 80, 84, 85, 86, 88, 92, 96, 97, 98, 102, 103, 104, 105)
ADDRESSES = (
    "1869_ulysses_s_grant_r", "1905_theodore_roosevelt_r", "1925_calvin_coolidge_r", "1934_franklin_d_roosevelt_d",
    "1953_dwight_d_eisenhower_r", "1961_john_f_kennedy_d", "1965_lyndon_b_johnson_d",
)  # fmt: skip
NOVELS = {"PRIDE AND PREJUDICE": 5, "Persuasion": 3}  # and the chapter to begin with
STRAND, ADDRESS, PIECE, PARAGRAPH = 105_000, 15_000, 3_000, 500  # characters: about, about, at least, at least
_PLAIN = str.maketrans("‘’“”", "''\"\"", "_*")
_SENTENCE = re.compile(r'(?:(?<=[.?!])|(?<=[.?!]"))(?<!\b[A-Z]\.)(?<!\b[DM]r\.)(?<!\bMrs\.)(?<!\bNo\.) +(?=["A-Z])')
_STRING = re.compile(rb"\x00\x04\x00\t(....)", re.DOTALL)  # R's mark of an ASCII or UTF-8 string, and its length
_DATED = re.compile(r"\b(?:negro|nigger|savage|cannibal|heathen|coolie|squaw)", re.I)  # words of that time, not of ours


def chapters(folder: Path, numbers: tuple[int, ...]) -> Iterator[str]:
    """Paragraphs of chapters of Moby-Dick, without titles and footnotes."""
    for number in numbers:
        _, *paragraphs = (folder / f"chapter_{number}.txt").read_text(encoding="utf-8").split("\n\n")
        yield from (text for text in paragraphs if not text.startswith(("*", "CHAPTER")))


def addresses(folder: Path) -> Iterator[str]:
    """The start of each address; its file is one line, so paragraphs are sentences joined until they are long enough."""
    for name in ADDRESSES:
        text = (folder / f"{name}.txt").read_text(encoding="utf-8")
        paragraph = ""
        for sentence in _SENTENCE.split(text[: text.index(". ", ADDRESS if len(text) > ADDRESS else -ADDRESS) + 1]):
            paragraph = f"{paragraph} {sentence}".strip()
            if len(paragraph) >= PARAGRAPH:
                yield paragraph
                paragraph = ""


def novels(rdata: Path) -> Iterator[str]:
    """Paragraphs of Jane Austen's novels: R's lines, joined, without headings."""
    for title, first in NOVELS.items():
        lines = next(lines for lines in _vectors(rdata.read_bytes()) if lines[0] == title)
        starts = [place for place, line in enumerate(lines) if re.match("chapter ", line, re.I)]
        text = "\n".join(lines[starts[first - 1] :])[: STRAND // len(NOVELS)]
        yield from (each for each in text.split("\n\n")[:-1] if not re.match(r"\W*(?:chapter|volume) ", each, re.I))


def _vectors(raw: bytes) -> Iterator[list[str]]:
    """Each vector of strings in a file of R data: blocks of four bytes of length, then zlib."""
    while raw:
        block = zlib.decompressobj()
        content, lines, place = block.decompress(raw[4:]), [], 0
        raw = block.unused_data
        while found := _STRING.search(content, place):
            place = found.end() + int.from_bytes(found[1], "big")
            lines.append(content[found.end() : place].decode())
        yield lines


def pieces(paragraphs: Iterator[str]) -> Iterator[str]:
    """Cleaned paragraphs, joined until each piece is long enough."""
    piece, total = [], 0  # characters
    for paragraph in paragraphs:
        text = " ".join(paragraph.translate(_PLAIN).replace("--", "—").split())
        if not text or _DATED.search(text) or not text.replace("—", "").isascii():
            continue
        piece.append(text)
        total += len(text)
        if sum(map(len, piece)) >= PIECE:
            yield "\n\n".join(piece)
            piece = []
            if total >= STRAND:
                return
    if piece:
        yield "\n\n".join(piece)


def main(moby_dick: Path, sotu: Path, rdata: Path) -> None:
    """Write the text: a piece of each strand in turns, until all have ended."""
    strands = (chapters(moby_dick, WHALES), addresses(sotu), novels(rdata), chapters(moby_dick, STORY))
    turns = zip_longest(*map(pieces, strands))
    text = "\n\n".join(piece for turn in turns for piece in turn if piece) + "\n"
    target = Path(__file__).parents[1] / "texts/prose.txt"
    target.write_text(text, encoding="utf-8", newline="\n")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
