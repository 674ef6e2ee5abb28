"""Puts all WAT programs, those of corpus/wat/ and the generated ones, into .cache/corpus/wat/."""
from corpus.manifest import CACHE, ROOT
from corpus.wat_generators import GENERATED


def write_all():
    """Returns how many there are."""
    texts = {path.name: path.read_text() for path in sorted((ROOT / "corpus/wat").glob("*.wat"))}
    texts |= {f"{name}.wat": generate() for name, generate in GENERATED.items()}
    target = CACHE / "wat"
    target.mkdir(parents=True, exist_ok=True)
    for name, text in texts.items():
        if not (target / name).exists() or (target / name).read_text() != text:
            (target / name).write_text(text)
    return len(texts)
