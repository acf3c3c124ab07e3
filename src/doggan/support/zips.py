"""What goes wrong with a zip."""

import zipfile
import zlib

# Besides its own error zipfile lets through those of decompression, of names that are no text and
# of offsets below zero (both ValueError), of encrypted entries (RuntimeError), and of versions of
# the format to come (NotImplementedError, which is a RuntimeError).
UNREADABLE_ZIP = (zipfile.BadZipFile, zlib.error, OSError, EOFError, ValueError, RuntimeError)
