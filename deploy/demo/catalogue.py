"""Which archives the demo can make, as data; knows nothing of training."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

DIGITS_DIR = Path(__file__).parent / "digits"
TEXT_DIR = Path(__file__).parent / "text"


@dataclass(frozen=True, slots=True)
class DemoArchive:
    """One archive that the demo can make.

    Attributes:
        file_name: in the model store.
        model: in the digits' archives the model is trained here; in the text's it comes with a package.
        kind: what the model is, for people.
        model_file: the file that holds its ``nn.Module``, under the model's directory.
        handler_file: the file that holds its handler, beside it.
    """

    file_name: str
    model: str
    version: str
    kind: str
    model_file: str
    handler_file: str = "handler.py"


# In the order in which missing ones are made: that of the curl line that a newcomer is shown first.
DEMO_ARCHIVES: dict[str, DemoArchive] = {
    archive.file_name: archive
    for archive in (
        DemoArchive("digits-1.mar", "digits", "1", "linear", "model_linear.py"),
        DemoArchive("text-1.mar", "text", "1", "sentence embeddings, MiniLM-L6", "model.py"),
        DemoArchive("digits-2.mar", "digits", "2", "small CNN", "model_cnn.py"),
        DemoArchive(
            "digits-broken.mar", "digits", "3", "linear, broken on purpose", "model_linear.py", "broken_handler.py"
        ),
    )
}
