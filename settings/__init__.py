"""What the operator sets, and the folders that follow from it: one typed object, see docs/operations.md."""

from settings.access import listed, listens, refuse_model, refuse_text
from settings.fields import Settings
from settings.folders import data_directory, exports_directory, exports_folder, subfolder, write_atomically
from settings.reading import settings

__all__ = [
    "Settings",
    "data_directory",
    "exports_directory",
    "exports_folder",
    "listed",
    "listens",
    "refuse_model",
    "refuse_text",
    "settings",
    "subfolder",
    "write_atomically",
]
